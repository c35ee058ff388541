"""Runs the episodes of one goal one after the other: gates, repeats, budget, early stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tmrl_ros.core.config import Config
from tmrl_ros.core.types import (
    HOLD_RELEASED,
    Episode,
    EpisodeOutcome,
    EpisodeState,
    Outcome,
    Phase,
    Reward,
    RobotSample,
)
from tmrl_ros.session.commands import Announce, Command, EpisodeSpec, ResetStop, Say
from tmrl_ros.session.episode import EpisodeMachine
from tmrl_ros.session.gates import Gates, Verdict, World
from tmrl_ros.session.homing import Homing
from tmrl_ros.session.seeds import episode_id, episode_seed

MAX_REPEATS = 3
PAUSE_AFTER_ABORT_S = 0.3
SAY_AGAIN_S = 10.0
PUT_BACK = "The arm is home: put the objects back, hands out, then 'tmrl ready'."
TAKE_THE_ARM = "Ready: take the arm to begin."
DISCARDED = "OPERATOR"
"""Reason of an episode that a person aborted; any other abort is a fault."""
FAULTS = ("SILENT", "SCENE", "NOT_HOME", "RESET", "REWARD", "SKIPPED")
"""How reasons begin that are not in the hands of a person who drives."""

MAX_PROMPT = 200


@dataclass(frozen=True)
class Goal:
    """What `RunEpisodes` asks for; `method` is never empty here."""

    phase: Phase
    episodes: int
    start_index: int
    seed: int
    method: str
    learn: bool
    deterministic: bool
    max_robot_seconds: float = 0.0
    stop_window: int = 0
    stop_success_rate: float = 1.0


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What the runner takes from the configuration.

    `attempts_per_start` episodes that follow each other begin in the same state.
    """

    task: str
    prompt: str
    max_decisions: int
    timeout_s: float
    scene_timeout_s: float
    make_homing: Callable[[], Homing]
    attempts_per_start: int = 1
    person_resets: bool = False
    judged: bool = True
    by_person: bool = False


def run_settings(config: Config) -> RunSettings:
    """What a configuration says about running episodes."""
    task, session, robot = config.task, config.session, config.robot
    scene_s = session.decision_timeout_s + task.scene_reset_s
    if robot.kind != "sim":
        scene_s = robot.operator_timeout_s  # a person puts the objects back
    return RunSettings(
        task=task.name,
        prompt=task.prompt,
        max_decisions=config.max_decisions,
        timeout_s=session.decision_timeout_s,
        attempts_per_start=max(1, len(config.comparison.contenders)),
        scene_timeout_s=scene_s,
        person_resets=robot.kind != "sim",
        judged=config.judged,
        by_person=config.by_person,
        make_homing=lambda: Homing(
            home_m=np.array(task.home_position_m),
            orientation=np.array(task.orientation_xyzw),
            gripper_max_width_m=robot.gripper_max_width_m,
            rate_hz=robot.control_rate_hz,
        ),
    )


PROMPT_PHASES = (Phase.COLLECT, Phase.OTHER)


def prompt_refusal(prompt: str, goal: Goal | None, own: str) -> str:
    """Why a person may not change what the policy is told now; empty if they may.

    Learning and comparing are about one prompt: rows and rates of two would be mixed.
    """
    if len(prompt) > MAX_PROMPT:
        return f"The text has {len(prompt)} letters; at most {MAX_PROMPT} are taken."
    if goal is not None and goal.phase not in PROMPT_PHASES:
        return (
            f"This session learns or is judged by {own!r}: end it, and start another with "
            "task.prompt=..."
        )
    return ""


@dataclass(frozen=True)
class GoalResult:
    """How a goal ended; `robot_seconds` includes aborted episodes."""

    success: bool
    message: str
    episodes: int
    successes: int
    robot_seconds: float


@dataclass
class GoalRunner:
    """Drives one goal; every event returns the commands it leads to.

    Attributes:
        result: None until the goal has ended.
        outcomes: Outcome of every ended episode that was not aborted, by its id.
        waiting: Sentence about what is waited for, "" while an episode goes on.
    """

    goal: Goal
    settings: RunSettings
    gates: Gates
    world: World
    first_piece: int = 1
    result: GoalResult | None = None
    outcomes: dict[str, EpisodeOutcome] = field(default_factory=dict)
    waiting: str = ""
    machine: EpisodeMachine | None = None
    robot_seconds: float = 0.0
    _repeats: int = 0
    _not_before_s: float = float("-inf")
    _said: str = ""
    _said_s: float = 0.0
    _cancelled: bool = False

    @property
    def successes(self) -> int:
        """Episodes that succeeded."""
        return sum(outcome == EpisodeOutcome.SUCCESS for outcome in self.outcomes.values())

    def waits_for(self) -> str:
        """`waiting`, or what a running episode wants of a person."""
        machine = self.running
        if machine is not None and machine.waits_for_person:
            return TAKE_THE_ARM
        asks = self.settings.person_resets and machine is not None and machine.waits_for_scene
        return PUT_BACK if asks else self.waiting

    @property
    def running(self) -> EpisodeMachine | None:
        """The episode that goes on now."""
        return self.machine if self.machine is not None and not self.machine.ended else None

    def on_time(self, now_s: float) -> list[Command]:
        """Wall time went by: also what starts the first episode."""
        return self._after(self.running.on_time(now_s) if self.running else [], now_s)

    def on_robot(
        self, stamp_ns: int, measure: Callable[[], RobotSample], now_s: float
    ) -> list[Command]:
        """A robot state came."""
        machine = self.running
        return self._after(machine.on_robot(stamp_ns, measure, now_s) if machine else [], now_s)

    def on_outcome(self, outcome: Outcome, now_s: float) -> list[Command]:
        """The supervisor is done with a chunk."""
        machine = self.running
        return self._after(machine.on_outcome(outcome, now_s) if machine else [], now_s)

    def on_reward(self, reward: Reward, now_s: float) -> list[Command]:
        """The reward spoke."""
        machine = self.running
        return self._after(machine.on_reward(reward, now_s) if machine else [], now_s)

    def on_person(self, now_s: float) -> list[Command]:
        """A person takes the arm, or presses start."""
        machine = self.running
        return self._after(machine.on_person(now_s) if machine else [], now_s)

    def on_scene(self, episode: str, success: bool, message: str, now_s: float) -> list[Command]:
        """The objects of `episode` were put back, or not."""
        machine = self.running
        if machine is None or machine.spec.episode_id != episode:
            return []
        return self._after(machine.on_scene(success, message, now_s), now_s)

    def on_safety(self, now_s: float) -> list[Command]:
        """`world.safety` has changed."""
        safety, machine = self.world.safety, self.running
        stop = machine is not None and safety is not None and safety.latched
        commands = machine.on_stop(safety.code) if stop and machine and safety else []
        if machine and safety and not safety.latched and safety.code == HOLD_RELEASED:
            machine.on_hold_released(now_s)
        return self._after(commands, now_s)

    def cancel(self, now_s: float) -> list[Command]:
        """End the goal now; an episode that goes on is aborted."""
        self._cancelled = True
        machine = self.running
        commands = machine.on_stop("CANCELLED") if machine else []
        return self._after(commands, now_s)

    def relabel(self, name: str, outcome: EpisodeOutcome) -> None:
        """A person gave an ended episode another outcome."""
        if name in self.outcomes:
            self.outcomes[name] = outcome

    def _after(self, commands: list[Command], now_s: float) -> list[Command]:
        """Take note of an ended episode and go on with the next one if that is possible now."""
        commands = list(commands)
        for command in tuple(commands):
            if isinstance(command, Announce) and command.episode.state == EpisodeState.ENDED:
                commands += self._note(command.episode, now_s)
        if self.result is None and self.running is None:
            commands += self._next(now_s)
        return commands

    def _note(self, episode: Episode, now_s: float) -> list[Command]:
        self.robot_seconds += episode.robot_seconds
        if episode.outcome != EpisodeOutcome.ABORTED:
            self._repeats = 0
            self.outcomes[episode.episode_id] = episode.outcome
            if episode.learn:
                self.gates.episode_learned(episode.episode_id)
            return []
        by_person = self.settings.by_person and not episode.reason.startswith(FAULTS)
        again = by_person or episode.reason == DISCARDED
        self._repeats = 0 if again else self._repeats + 1
        self._not_before_s = now_s + PAUSE_AFTER_ABORT_S
        if self._repeats > MAX_REPEATS and not self._cancelled:
            self._end(
                False,
                f"Episode {episode.episode_id} was aborted {self._repeats} times in a row, "
                f"last because of {episode.reason}",
            )
        return [Say(f"Episode {episode.episode_id} aborted: {episode.reason}", warning=True)]

    def _next(self, now_s: float) -> list[Command]:
        if self._finished():
            return []
        if now_s < self._not_before_s:
            return []
        verdict, text = self.gates.ask(self.world, self.goal.phase, self.goal.learn, now_s)
        if verdict == Verdict.GIVE_UP:
            self._end(False, text)
            return [Say(text, warning=True)]
        said = self._say(text, verdict, now_s)
        if verdict == Verdict.RESET_STOP:
            return [ResetStop(), *said]
        if verdict == Verdict.WAIT:
            return said
        return said + self._start(now_s)

    def _finished(self) -> bool:
        goal = self.goal
        if self._cancelled:
            self._end(False, "Cancelled")
        elif len(self.outcomes) >= goal.episodes:
            self._end(True, f"{len(self.outcomes)} episodes done")
        elif 0 < goal.max_robot_seconds <= self.robot_seconds:
            self._end(True, f"The robot time of {goal.max_robot_seconds / 60:g} minutes is used up")
        elif self._good_enough():
            self._end(True, f"Good enough over the last {goal.stop_window} episodes")
        return self.result is not None

    def _good_enough(self) -> bool:
        window = self.goal.stop_window
        if window == 0 or len(self.outcomes) < window:
            return False
        recent = list(self.outcomes.values())[-window:]
        good = sum(outcome == EpisodeOutcome.SUCCESS for outcome in recent)
        return good >= self.goal.stop_success_rate * window - 1e-6

    def _start(self, now_s: float) -> list[Command]:
        goal, settings = self.goal, self.settings
        index = goal.start_index + len(self.outcomes)
        stamp_ns = self.world.stamp_ns or 0
        # Grows over a restart of the manager too, because the robot's clock does.
        piece = max(self.first_piece, stamp_ns // 1_000_000)
        if self.machine is not None:
            piece = max(piece, self.machine.last_piece + 1)
        self.waiting = ""
        self.machine = EpisodeMachine(
            EpisodeSpec(
                episode_id=episode_id(goal.phase, index),
                index=index,
                phase=goal.phase,
                seed=episode_seed(goal.seed, goal.phase, index // settings.attempts_per_start),
                task=settings.task,
                prompt=self.world.prompt or settings.prompt,
                method=goal.method,
                learn=goal.learn,
                deterministic=goal.deterministic,
                max_decisions=settings.max_decisions,
                judged=settings.judged,
                by_person=settings.by_person,
            ),
            settings.make_homing(),
            timeout_s=settings.timeout_s,
            scene_timeout_s=settings.scene_timeout_s,
            first_piece=piece,
        )
        return self.machine.start(stamp_ns, now_s)

    def _say(self, text: str, verdict: Verdict, now_s: float) -> list[Command]:
        self.waiting = text if verdict in (Verdict.WAIT, Verdict.RESET_STOP) else ""
        if not text or (text == self._said and now_s - self._said_s < SAY_AGAIN_S):
            return []
        self._said, self._said_s = text, now_s
        return [Say(text, warning=verdict == Verdict.GO_ON)]

    def _end(self, success: bool, message: str) -> None:
        self.waiting = ""
        self.result = GoalResult(
            success, message, len(self.outcomes), self.successes, self.robot_seconds
        )
