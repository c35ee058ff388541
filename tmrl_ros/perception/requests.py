"""Which observation is due, when to ask the cameras again, and when to complain.

Follows docs/architecture.md, "One decision, step by step", point 2. Knows no ROS.
"""

from __future__ import annotations

from dataclasses import dataclass

from tmrl_ros.core.attempts import is_earlier
from tmrl_ros.core.types import ChunkResult, ChunkSource, Episode, EpisodeState, Outcome

DECISIONS_PER_EPISODE = 1000
EPISODES_PER_PHASE = 100_000
RETRIGGER_S = 0.5


def sequence_number(phase: int, index: int, decision: int) -> int:
    """Number of an observation: the same after a restart, and different for every observation."""
    return DECISIONS_PER_EPISODE * (index + phase * EPISODES_PER_PHASE) + decision + 1


@dataclass
class Due:
    """An observation that is to be made.

    Attributes:
        episode: The running episode.
        decision: Number of the observation within it.
        stamp_ns: Robot time from which on pictures and state must be.
        asked_s: Wall time at which it became due.
        trigger_s: Wall time at which the cameras are to be asked (again).
        complain_s: Wall time of the last complaint.
        refusal: Why the pictures that came could not be used.
    """

    episode: Episode
    decision: int
    stamp_ns: int
    asked_s: float
    trigger_s: float
    complain_s: float
    refusal: str = ""

    @property
    def sequence(self) -> int:
        """Number of the observation over the session."""
        return sequence_number(self.episode.phase, self.episode.index, self.decision)


class ObservationRequests:
    """Turns episode events and chunk outcomes into the observation that is due, one at most."""

    def __init__(self) -> None:
        self.due: Due | None = None
        self._episode: Episode | None = None
        self._last_decision = -1

    def on_episode(
        self, episode: Episode, newest_state_ns: int, now_s: float, *, is_old: bool = False
    ) -> bool:
        """Take in a change of an episode.

        Args:
            episode: The episode at its change.
            newest_state_ns: Stamp of the newest robot state; pictures must not be older.
            now_s: Wall time.
            is_old: Said before this process listened. Then it is not known which decision the
                episode is at; the next outcome tells.

        Returns:
            Whether the objects are being put elsewhere or have been, so that all that was seen
            before is out of date.
        """
        known = self._episode
        same = known is not None and known.episode_id == episode.episode_id
        if episode.state == EpisodeState.RUNNING:
            if same and known is not None and known.state == EpisodeState.RUNNING:
                return False
            self._episode, self._last_decision = episode, -1
            if not is_old:
                self._ask(0, max(episode.stamp_ns, newest_state_ns), now_s)
            return True
        if episode.state == EpisodeState.ENDED and not same:
            return False  # an older episode got another label
        self._episode, self.due = episode, None
        return episode.state == EpisodeState.RESETTING

    def on_outcome(self, outcome: Outcome, now_s: float) -> None:
        """Take in what became of a chunk, or that the next one is wanted while it still runs."""
        episode = self._episode
        if (
            episode is None
            or episode.state != EpisodeState.RUNNING
            or outcome.source == ChunkSource.RESET
            or outcome.episode_id != episode.episode_id
            or outcome.result == ChunkResult.SKIPPED
            or is_earlier(outcome, episode.stamp_ns)
        ):
            return
        decision = outcome.decision + 1
        waiting = self.due.decision if self.due is not None else self._last_decision
        if waiting < decision <= episode.max_decisions:
            self._ask(decision, outcome.stamp_ns, now_s)

    def made(self) -> None:
        """The observation that was due is made."""
        if self.due is not None:
            self._last_decision, self.due = self.due.decision, None

    def take_trigger(self, now_s: float) -> bool:
        """Whether the cameras are to be asked now; the next time is in `RETRIGGER_S`."""
        if self.due is None or now_s < self.due.trigger_s:
            return False
        self.due.trigger_s = now_s + RETRIGGER_S
        return True

    def take_complaint(self, timeout_s: float, now_s: float) -> bool:
        """Whether it is time to say what is missing: every `timeout_s` that the wait lasts."""
        if self.due is None or now_s - self.due.complain_s < timeout_s:
            return False
        self.due.complain_s = now_s
        return True

    def _ask(self, decision: int, stamp_ns: int, now_s: float) -> None:
        assert self._episode is not None
        self.due = Due(self._episode, decision, stamp_ns, now_s, now_s, now_s)
