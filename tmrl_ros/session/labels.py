"""A person's word about episodes: on the running one, or on one that has ended.

Events of ended episodes must not come between RUNNING and ENDED of another one, where they would
be taken for its end; they are kept back until then.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tmrl_ros.core.types import Episode, EpisodeOutcome, EpisodeState
from tmrl_ros.session.runner import GoalRunner


@dataclass
class Labels:
    """Remembers ended episodes and decides which events go out in which order."""

    _ended: dict[str, Episode] = field(default_factory=dict)
    _kept_back: list[Episode] = field(default_factory=list)
    _latest: Episode | None = None
    _runner: GoalRunner | None = None

    def begin(self, runner: GoalRunner) -> None:
        """A goal begins."""
        self._runner = runner

    def finish(self) -> None:
        """The goal has ended; its episodes can still be labelled."""
        self._runner = None

    def events(self, episode: Episode) -> list[Episode]:
        """What to publish for a new state of the current episode."""
        self._latest = episode
        if episode.state != EpisodeState.ENDED:
            return [episode]
        self._ended[episode.episode_id] = episode
        kept, self._kept_back = self._kept_back, []
        return [episode, *kept]

    def label(
        self, name: str, outcome: int, by: str, now_s: float
    ) -> tuple[bool, str, list[Episode]]:
        """Set the outcome of the running or an ended episode.

        Args:
            name: The episode; "" means the running or the latest one.
            outcome: Its outcome, a value of `EpisodeOutcome` but NONE.
            by: Who says so.
            now_s: Wall time.

        Returns:
            Whether the word was taken, a sentence, and the events to publish now.
        """
        if outcome == EpisodeOutcome.NONE or outcome not in list(EpisodeOutcome):
            return False, f"Outcome {outcome} is not one of 1 to 4.", []
        outcome = EpisodeOutcome(outcome)
        machine = self._runner.running if self._runner is not None else None
        if machine is not None and name in ("", machine.spec.episode_id):
            started = machine.state in (EpisodeState.READY, EpisodeState.RUNNING)
            started = started and not machine.waits_for_person
            if name or started or outcome == EpisodeOutcome.ABORTED or not self._ended:
                taken, text = machine.on_label(outcome, by, now_s)
                return taken, text, []
        if not name and self._ended:
            name = next(reversed(self._ended))
        if name not in self._ended:
            return False, f"There is no episode {name!r} that runs or has ended here.", []
        return True, f"Episode {name} is now {outcome.name}.", self._relabel(name, outcome, by)

    def _relabel(self, name: str, outcome: EpisodeOutcome, by: str) -> list[Episode]:
        """Give an ended episode another outcome; what to publish of that now."""
        episode = replace(self._ended[name], outcome=outcome, reason=by, labelled_by=by)
        self._ended[name] = episode
        if self._runner is not None:
            self._runner.relabel(name, outcome)
        latest = self._latest
        if latest is None or latest.state == EpisodeState.ENDED:
            return [episode]
        if latest.state in (EpisodeState.RESETTING, EpisodeState.READY):
            return [episode, latest]
        self._kept_back.append(episode)
        return []
