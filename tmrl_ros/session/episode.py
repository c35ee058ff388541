"""One episode as a state machine: IDLE, RESETTING, READY, RUNNING, ENDED.

It knows no clock and no ROS. Events go in with the wall time at which they came; commands come out.
Which events lead where is written in docs/architecture.md, "One decision, step by step".
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from tmrl_ros.core.attempts import is_earlier
from tmrl_ros.core.types import (
    HOLD_RELEASED,
    NANOSECONDS,
    ChunkResult,
    ChunkSource,
    Episode,
    EpisodeOutcome,
    EpisodeState,
    Outcome,
    Reward,
    RobotSample,
)
from tmrl_ros.session.commands import Announce, AskScene, Command, EpisodeSpec, Move
from tmrl_ros.session.homing import Homing

# Causes of a latch that a policy brings about by what it asks for: such an episode has failed and
# is not repeated, or an evaluation would repeat a policy's failures until they succeed.
POLICY_FAULTS = frozenset(
    {
        "FORCE",
        "WORKSPACE",
        "OUTSIDE_WORKSPACE",
        "KEEP_OUT",
        "IN_KEEP_OUT",
        "JOINT_LIMIT",
        "OUT_OF_REACH",
        "STEP",
        "START_OFFSET",
        "START_ROTATION",
    }
)
MAX_PIECES = 8
MAX_REJECTIONS = 10
RETRY_S = 0.2
OUTCOME_S = 0.5
"""How long a stop waits for the outcome of the chunk that it ended."""


class _Wait(Enum):
    """What a resetting episode waits for."""

    MEASURE = auto()
    PIECE = auto()
    SCENE = auto()


class EpisodeMachine:
    """Carries one episode from its reset to its end.

    Args:
        spec: The episode.
        homing: Plans the way home.
        timeout_s: Wall time without the next message after which the episode is aborted.
        scene_timeout_s: The same for putting the objects back.
        first_piece: Sequence number of the first chunk home.
    """

    def __init__(
        self,
        spec: EpisodeSpec,
        homing: Homing,
        *,
        timeout_s: float,
        scene_timeout_s: float,
        first_piece: int,
    ) -> None:
        self.spec = spec
        self.state = EpisodeState.IDLE
        self.outcome = EpisodeOutcome.NONE
        self.reason = ""
        self.labelled_by = ""
        self.decisions = 0
        self._homing = homing
        self._timeout_s = timeout_s
        self._scene_timeout_s = scene_timeout_s
        self._piece = first_piece
        self._pieces = 0
        self._rejections = 0
        self._wait = _Wait.MEASURE
        self._measure_from_ns = 0
        self._not_before_s = 0.0
        self._start_ns = 0
        self._running_ns = 0
        self._now_ns = 0
        self._deadline_s = 0.0
        self._current = 0
        self._observations = 0
        self._chunks = 0
        self._rewards: dict[int, Reward] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._end: tuple[EpisodeOutcome, str, str] | None = None
        self._fault = ""  # of the policy, or of a person who drove: the chunk's outcome will tell
        self._fault_s = float("inf")

    @property
    def ended(self) -> bool:
        """Whether ENDED was announced."""
        return self.state == EpisodeState.ENDED

    @property
    def waits_for_scene(self) -> bool:
        """Whether the objects have still to be put back."""
        return self.state == EpisodeState.RESETTING and self._wait == _Wait.SCENE

    @property
    def waits_for_person(self) -> bool:
        """Whether all is ready and a person has to take the arm."""
        return self.spec.by_person and self.state == EpisodeState.READY

    @property
    def last_piece(self) -> int:
        """Sequence number of the latest chunk home."""
        return self._piece - 1

    @property
    def robot_seconds(self) -> float:
        """Robot time since RESETTING, resets included."""
        return max(0, self._now_ns - self._start_ns) / NANOSECONDS

    def snapshot(self) -> Episode:
        """State of the episode now."""
        spec = self.spec
        return Episode(
            stamp_ns=self._now_ns,
            episode_id=spec.episode_id,
            index=spec.index,
            phase=spec.phase,
            state=self.state,
            outcome=self.outcome,
            reason=self.reason,
            seed=spec.seed,
            task=spec.task,
            prompt=spec.prompt,
            method=spec.method,
            learn=spec.learn,
            deterministic=spec.deterministic,
            max_decisions=spec.max_decisions,
            decisions=self.decisions,
            robot_seconds=self.robot_seconds,
            labelled_by=self.labelled_by,
        )

    def start(self, stamp_ns: int, now_s: float) -> list[Command]:
        """Begin with the reset; `stamp_ns` is the newest robot stamp."""
        self._start_ns = self._now_ns = self._measure_from_ns = stamp_ns
        self._deadline_s = now_s + self._timeout_s
        return self._turn(EpisodeState.RESETTING)

    def on_robot(
        self, stamp_ns: int, measure: Callable[[], RobotSample], now_s: float
    ) -> list[Command]:
        """A robot state came; `measure` reads it, which is rarely needed."""
        self._now_ns = max(self._now_ns, stamp_ns)
        if self.state != EpisodeState.RESETTING or self._wait != _Wait.MEASURE:
            return []
        if stamp_ns < self._measure_from_ns or now_s < self._not_before_s:
            return []
        return self._next_piece(measure(), now_s)

    def on_scene(self, success: bool, message: str, now_s: float) -> list[Command]:
        """The objects were put back, or not."""
        if self.state != EpisodeState.RESETTING or self._wait != _Wait.SCENE:
            return []
        if not success:
            return self._abort(f"SCENE_NOT_RESET: {message}")
        ready = self._turn(EpisodeState.READY)
        if self.spec.by_person:
            self._deadline_s = float("inf")  # a person takes the arm when they like
            return ready
        return ready + self._run(now_s)

    def on_person(self, now_s: float) -> list[Command]:
        """A person takes the arm: the episode begins, if it waits for that."""
        return self._run(now_s) if self.waits_for_person else []

    def _run(self, now_s: float) -> list[Command]:
        self._deadline_s = now_s + self._timeout_s
        self._running_ns = self._now_ns
        return self._turn(EpisodeState.RUNNING)

    def on_observation(self) -> None:
        """An observation came; it only tells whose silence it is when nothing follows."""
        if self.state == EpisodeState.RUNNING:
            self._observations += 1

    def on_chunk(self, chunk_episode: str, decision: int) -> None:
        """The policy answered; it only tells whose silence it is when nothing follows."""
        if self.state == EpisodeState.RUNNING and chunk_episode == self.spec.episode_id:
            self._chunks = max(self._chunks, decision + 1)

    def on_outcome(self, outcome: Outcome, now_s: float) -> list[Command]:
        """The supervisor is done with a chunk."""
        if outcome.episode_id != self.spec.episode_id or self.ended:
            return []
        self._now_ns = max(self._now_ns, outcome.stamp_ns)
        if outcome.source == ChunkSource.RESET:
            return self._on_piece(outcome, now_s)
        if self.state != EpisodeState.RUNNING or is_earlier(outcome, self._running_ns):
            return []
        self._outcomes[outcome.decision] = outcome
        return self._advance(now_s)

    def on_reward(self, reward: Reward, now_s: float) -> list[Command]:
        """The reward spoke about one observation."""
        if reward.episode_id != self.spec.episode_id or self.state != EpisodeState.RUNNING:
            return []
        if is_earlier(reward, self._running_ns):
            return []
        self._rewards[reward.decision] = reward
        if reward.valid and self._end is None and (reward.success or reward.failure):
            outcome = EpisodeOutcome.SUCCESS if reward.success else EpisodeOutcome.FAILURE
            self._end = (outcome, "", "reward")
        return self._advance(now_s)

    def on_stop(self, code: str) -> list[Command]:
        """The stop has latched, or is still latched.

        Whether the policy or a person moved the arm stands in the outcome of the chunk, if one was
        under way; it may come a moment later.
        """
        if self.state in (EpisodeState.IDLE, EpisodeState.ENDED):
            return []
        under_way = self.state == EpisodeState.RUNNING and self._chunks > self._current
        if under_way and code in POLICY_FAULTS:
            self._fault = self._fault or code
            return []
        return self._stopped(code or "LATCHED", self._outcomes.get(self._current - 1))

    def on_hold_released(self, now_s: float) -> None:
        """Nobody holds the hold-to-run button: the episode waits, for as long as that takes."""
        self._deadline_s = max(self._deadline_s, now_s + self._timeout_s)

    def on_label(self, outcome: EpisodeOutcome, by: str, now_s: float) -> tuple[bool, str]:
        """A person says how the running episode ends; it ends with the outcome of its last chunk.

        Returns:
            Whether the word was taken, and a sentence. ABORTED takes effect at the next `on_time`.
        """
        if self.ended or self.state == EpisodeState.IDLE:
            return False, f"Episode {self.spec.episode_id} is not running."
        if outcome == EpisodeOutcome.ABORTED:
            self._end = (outcome, "OPERATOR", by)
            self._deadline_s = now_s
            return True, f"Episode {self.spec.episode_id} is being aborted."
        if self.state != EpisodeState.RUNNING:
            return False, f"Episode {self.spec.episode_id} has not begun; only ABORTED can be said."
        self._end = (outcome, by, by)
        return True, f"Episode {self.spec.episode_id} ends as {outcome.name} after its last chunk."

    def on_time(self, now_s: float) -> list[Command]:
        """Wall time went by."""
        if self._fault and not self.ended:
            self._fault_s = min(self._fault_s, now_s + OUTCOME_S)
            if now_s >= self._fault_s:
                return self._stopped(self._fault, None)
        if self.state in (EpisodeState.IDLE, EpisodeState.ENDED) or now_s < self._deadline_s:
            return []
        if self._end is not None and self._end[2] != "reward":  # a person's word needs no answer
            return self._finish(*self._end)
        return self._abort(self._silence())

    def _next_piece(self, sample: RobotSample, now_s: float) -> list[Command]:
        chunk = self._homing.next_chunk(sample, self.spec.episode_id, self._piece)
        if chunk is None:
            self._wait = _Wait.SCENE
            self._deadline_s = now_s + self._scene_timeout_s
            return [AskScene(self.spec.episode_id, self.spec.seed, self.spec.task)]
        if self._pieces >= MAX_PIECES:
            away_m = self._homing.distance_m(sample)
            return self._abort(f"NOT_HOME: {away_m:.3f} m from home after {self._pieces} tries")
        self._wait = _Wait.PIECE
        self._pieces += 1
        self._piece += 1
        self._deadline_s = now_s + self._timeout_s
        return [Move(chunk)]

    def _on_piece(self, outcome: Outcome, now_s: float) -> list[Command]:
        expected = self.state == EpisodeState.RESETTING and self._wait == _Wait.PIECE
        if not expected or outcome.sequence != self.last_piece:
            return []
        if outcome.result == ChunkResult.ABORTED and outcome.reason != HOLD_RELEASED:
            return self._abort(outcome.reason or "RESET_STOPPED")
        if outcome.human_steps or outcome.reason == HOLD_RELEASED:
            self._pieces -= 1  # it is not its fault that the arm is not home
        elif outcome.result != ChunkResult.EXECUTED:
            self._rejections += 1
            self._pieces -= 1
            self._not_before_s = now_s + RETRY_S
            if self._rejections > MAX_REJECTIONS:
                return self._abort(f"RESET_REJECTED: {outcome.reason}")
        self._wait = _Wait.MEASURE
        self._measure_from_ns = outcome.stamp_ns
        self._deadline_s = now_s + self._timeout_s
        return []

    def _advance(self, now_s: float) -> list[Command]:
        while (done := self._outcomes.get(self._current)) is not None:
            last = self._current >= self.spec.max_decisions
            if done.result == ChunkResult.ABORTED and done.reason != HOLD_RELEASED:
                return self._stopped(done.reason or "CHUNK_STOPPED", done)
            ahead = self._chunks > self._current + 1  # made while this one ran; its outcome comes
            if self._fault and not (ahead and done.result == ChunkResult.EXECUTED):
                return self._stopped(self._fault, self._outcomes.get(self._current - 1))
            if done.result != ChunkResult.SKIPPED:
                self.decisions = self._current + 1
            if self._end is not None and not ahead:
                return self._finish(*self._end)
            if last and not self.spec.judged:
                return self._finish(EpisodeOutcome.TIMEOUT, "", "")
            if last or done.result == ChunkResult.SKIPPED:
                reward = self._rewards.get(self._current)
                if reward is None:
                    return []  # the reward of the last observation may still say success
                if not reward.valid:
                    return self._abort(f"REWARD_UNKNOWN: {reward.error}")
                if last:
                    return self._finish(EpisodeOutcome.TIMEOUT, "", "reward")
                return self._abort(
                    f"SKIPPED: policy_server gave nothing to do for decision {self._current}"
                )
            self._current += 1
            self._deadline_s = now_s + self._timeout_s
        return []

    def _silence(self) -> str:
        seconds = f"within {self._timeout_s:g} s"
        if self.state == EpisodeState.RESETTING:
            if self._wait == _Wait.SCENE:
                return f"SILENT robot: the scene was not reset within {self._scene_timeout_s:g} s"
            if self._wait == _Wait.PIECE:
                return f"SILENT safety_supervisor: no outcome of the way home {seconds}"
            return f"SILENT robot: no robot/state {seconds}"
        k = self._current
        if k in self._outcomes:
            return f"SILENT reward: no estimate for decision {k} {seconds}"
        if self._chunks > k:
            return f"SILENT safety_supervisor: no outcome of decision {k} {seconds}"
        if self._observations > k:
            who = "demonstrator" if self.spec.by_person else "policy_server"
            return f"SILENT {who}: no chunk for decision {k} {seconds}"
        return f"SILENT perception: no observation for decision {k} {seconds}"

    def _stopped(self, code: str, done: Outcome | None) -> list[Command]:
        """What the policy asked for is its own failure; any other stop says nothing about it.

        Nor does one that came about while a person drove, as the latest outcome `done` says.
        """
        by_person = done is not None and ChunkSource.HUMAN in done.sources[-1:]
        if self.state == EpisodeState.RUNNING and code in POLICY_FAULTS and not by_person:
            self.decisions = self._current + 1  # the chunk that was stopped counts: it did it
            return self._finish(EpisodeOutcome.FAILURE, code, "")
        return self._abort(code)

    def _abort(self, reason: str) -> list[Command]:
        return self._finish(EpisodeOutcome.ABORTED, reason, "")

    def _finish(self, outcome: EpisodeOutcome, reason: str, by: str) -> list[Command]:
        self.outcome, self.reason, self.labelled_by = outcome, reason, by
        return self._turn(EpisodeState.ENDED)

    def _turn(self, state: EpisodeState) -> list[Command]:
        self.state = state
        return [Announce(self.snapshot())]
