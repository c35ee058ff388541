"""What of a person's demonstrations there is, in a line, while they are being collected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tmrl_ros.core.collect_config import CollectConfig
from tmrl_ros.data.quality import Quality, check_bag
from tmrl_ros.session.records import EpisodeRecord, of_phase

PHASE = "collect"
METADATA = "metadata.yaml"


class Tally:
    """Counts demonstrations, and looks at the bag of the newest once that is closed."""

    def __init__(self, episodes: Path, rules: CollectConfig) -> None:
        """Nothing has been looked at.

        Args:
            episodes: Folder of the bags.
            rules: What a good demonstration looks like.
        """
        self._episodes = episodes
        self._rules = rules
        self._looked: tuple[str, int, str] = ("", -1, "")
        self._last = ""

    def line(self, records: Sequence[EpisodeRecord]) -> str:
        """How many are kept, how long they are, and how good the newest one is."""
        kept = of_phase(records, PHASE)
        successes = sum(item.success for item in kept)
        thrown = sum(item.aborted for item in records if item.phase == PHASE)
        minutes = sum(max(0.0, item.robot_seconds - item.reset_seconds) for item in kept) / 60.0
        found = (
            f"{len(kept)} kept ({successes} successes, {len(kept) - successes} not), {thrown} "
            f"thrown away, {minutes:.1f} min"
        )
        if kept:
            self._look(kept[-1])
        return f"{found}; {self._last}" if self._last else found

    def _look(self, newest: EpisodeRecord) -> None:
        name = newest.episode_id
        seen = name, newest.attempt, newest.outcome
        if self._looked == seen:
            return
        bag = self._episodes / name
        if not (bag / METADATA).is_file():  # the recorder still writes it
            return
        self._looked = seen
        quality = check_bag(bag, self._rules)
        if newest.success:  # also by a word that came when the bag was closed
            others = [item for item in quality.findings if item.code != "label"]
            quality = replace(quality, findings=tuple(others))
        self._last = f"{name}: {in_words(quality)}"


def in_words(quality: Quality) -> str:
    """The quality of one demonstration."""
    if quality.good:
        return f"{quality.length_s:.1f} s, good"
    return f"{quality.length_s:.1f} s. {quality.findings[0].text}"
