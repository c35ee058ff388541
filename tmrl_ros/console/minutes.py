"""Where the time of a session went: minutes of the robot, and minutes by the clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tmrl_ros.core.types import EpisodeState
from tmrl_ros.session.records import EpisodeRecord

LEARNER_SENTENCE = "Waiting for the learner"
LONGEST_GAP_S = 5.0


class Use(StrEnum):
    """What the clock's time was used for."""

    MOTION = "motion"
    RESET = "reset"
    WAITING = "waiting"
    LEARNING = "learning"


@dataclass
class WallClock:
    """Adds up wall time by use; what the console itself slept through is left out."""

    seconds: dict[Use, float] = field(default_factory=lambda: dict.fromkeys(Use, 0.0))
    _at_s: float | None = None

    def tick(self, now_s: float, state: EpisodeState, manager_says: str) -> None:
        """Charge the time since the last call to what goes on now."""
        before, self._at_s = self._at_s, now_s
        if before is not None and 0.0 < now_s - before <= LONGEST_GAP_S:
            self.seconds[use_of(state, manager_says)] += now_s - before

    def restore(self, saved: Mapping[str, object]) -> None:
        """Go on from what an earlier console wrote."""
        for use in Use:
            value = saved.get(use.value)
            if isinstance(value, int | float) and value >= 0:
                self.seconds[use] = float(value)

    def minutes(self) -> dict[str, float]:
        """Minutes by use."""
        return {use.value: round(value / 60.0, 3) for use, value in self.seconds.items()}


def use_of(state: EpisodeState, manager_says: str) -> Use:
    """What time is used for while an episode is in a state and the manager waits for something."""
    if state is EpisodeState.RUNNING:
        return Use.MOTION
    if state in (EpisodeState.RESETTING, EpisodeState.READY):
        return Use.RESET
    return Use.LEARNING if manager_says.startswith(LEARNER_SENTENCE) else Use.WAITING


def robot_minutes(records: Sequence[EpisodeRecord]) -> dict[str, float]:
    """Minutes of the robot's clock in motion and in resets, aborted episodes included."""
    reset_s = sum(record.reset_seconds for record in records)
    all_s = sum(record.robot_seconds for record in records)
    return {
        Use.MOTION.value: round(max(0.0, all_s - reset_s) / 60.0, 3),
        Use.RESET.value: round(reset_s / 60.0, 3),
    }
