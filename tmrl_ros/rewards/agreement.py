"""The person's word beside the model's: who agrees, what is worth a label, and when to mistrust.

Only episodes that a person has labelled count. Whoever labels nothing but the model's mistakes will
find it mistrusted soon, which errs on the safe side.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from math import comb
from typing import Any

from tmrl_ros.core.types import Episode, EpisodeOutcome, EpisodeState, Reward
from tmrl_ros.data.assembler import by_person
from tmrl_ros.rewards.model import Calibration

SIGNIFICANCE = 0.05
FEWEST_LABELS = 5  # two mistakes in a row say little about a model
LISTED = 20


@dataclass
class Verdict:
    """What a model said about one attempt.

    Attributes:
        succeeded: It said success, debounced.
        peak: Its highest success probability; None before its first estimate.
        last: Its latest success probability in order of decisions.
        unknown: Estimates that were not valid.
    """

    succeeded: bool = False
    peak: float | None = None
    last: float | None = None
    unknown: int = 0
    last_decision: int = -1

    def add(self, estimate: Reward) -> None:
        """Take one estimate; late ones too."""
        if not estimate.valid:
            self.unknown += 1
            return
        self.succeeded |= estimate.success
        self.peak = max(self.peak or 0.0, estimate.success_probability)
        if estimate.decision >= self.last_decision:
            self.last_decision, self.last = estimate.decision, estimate.success_probability

    def says_success(self, threshold: float, *, cut_short: bool) -> bool:
        """Its word on the attempt.

        A person who ends an episode by hand leaves no time for k of n estimates: then the last one
        counts alone.
        """
        return self.succeeded or (cut_short and (self.last or 0.0) >= threshold)


@dataclass(frozen=True)
class Label:
    """A person's word on an episode, beside the model's (None: it said nothing)."""

    episode_id: str
    outcome: EpisodeOutcome
    by: str
    model_success: bool | None
    peak: float | None

    @property
    def success(self) -> bool:
        """Whether the person says success."""
        return self.outcome is EpisodeOutcome.SUCCESS


@dataclass
class Agreement:
    """Follows estimates and episodes of a session; knows no clock and no file.

    Args:
        rule: What counts as success.
        margin: Episodes whose success probability came this near the threshold are uncertain.
        window: Labelled episodes that drift is told from.
        least: Share of them that the model must agree with.
        watch: Whether the model can be mistrusted at all; a simulator's truth cannot.
    """

    rule: Calibration
    margin: float
    window: int
    least: float
    watch: bool = True
    alarm: str = ""
    labels: OrderedDict[str, Label] = field(default_factory=OrderedDict)
    _verdicts: dict[str, Verdict] = field(default_factory=dict)
    _ended: OrderedDict[str, Episode] = field(default_factory=OrderedDict)

    @property
    def trusted(self) -> bool:
        """Whether success by the model may still end an episode."""
        return not self.alarm

    def on_estimate(self, estimate: Reward) -> None:
        """Take what the model says, before anybody is told."""
        if estimate.decision == 0:
            self._verdicts[estimate.episode_id] = Verdict()
        self._verdicts.setdefault(estimate.episode_id, Verdict()).add(estimate)

    def on_episode(self, event: Episode) -> Label | None:
        """Take a change of an episode; returns a label that is new."""
        if event.state is EpisodeState.RESETTING:
            self._forget(event.episode_id)
        if event.state is not EpisodeState.ENDED:
            return None
        before = self._ended.get(event.episode_id)
        self._ended[event.episode_id] = event
        known = self.labels.get(event.episode_id)
        if not by_person(event) or (
            known is not None and (known.outcome, known.by) == (event.outcome, event.labelled_by)
        ):
            return None
        label = self._label(event, cut_short=before is None and event.decisions > 0)
        self.add_label(label)
        return label

    def add_label(self, label: Label) -> None:
        """Count a label; the last one on an episode counts."""
        self.labels.pop(label.episode_id, None)
        self.labels[label.episode_id] = label
        self._look_for_drift()

    @property
    def counts(self) -> dict[str, int]:
        """Labelled episodes by what person and model said, aborted ones left out."""
        found = {"true_positive": 0, "false_positive": 0, "false_negative": 0, "true_negative": 0}
        for label in self._compared():
            right = "true" if label.model_success == label.success else "false"
            found[f"{right}_{'positive' if label.model_success else 'negative'}"] += 1
        return found

    def status(self) -> dict[str, Any]:
        """Figures for the operator."""
        counts = self.counts
        hits = counts["true_positive"]
        said, were = hits + counts["false_positive"], hits + counts["false_negative"]
        return {
            "labelled": sum(counts.values()),
            "disagreements": counts["false_positive"] + counts["false_negative"],
            **counts,
            "precision": hits / said if said else None,
            "recall": hits / were if were else None,
            "alarm": self.alarm,
            "trusted": self.trusted,
            "to_label": self.uncertain()[-LISTED:],
        }

    def uncertain(self) -> list[str]:
        """Ended episodes that a person's word is wanted on, oldest first."""
        return [name for name, event in self._ended.items() if self._is_uncertain(name, event)]

    def _forget(self, episode_id: str) -> None:
        """An episode is repeated: what was said about its first attempt is void."""
        self._verdicts.pop(episode_id, None)
        self._ended.pop(episode_id, None)
        self.labels.pop(episode_id, None)

    def _label(self, event: Episode, *, cut_short: bool) -> Label:
        verdict = self._verdicts.get(event.episode_id, Verdict())
        said = verdict.says_success(self.rule.threshold, cut_short=cut_short)
        return Label(
            event.episode_id,
            event.outcome,
            event.labelled_by,
            None if verdict.peak is None else said,
            verdict.peak,
        )

    def _compared(self) -> list[Label]:
        return [
            label
            for label in self.labels.values()
            if label.model_success is not None and label.outcome is not EpisodeOutcome.ABORTED
        ]

    def _is_uncertain(self, name: str, event: Episode) -> bool:
        if by_person(event) or event.outcome is EpisodeOutcome.ABORTED or not self.watch:
            return False
        verdict = self._verdicts.get(name)
        if self.alarm:
            return True
        if verdict is None:  # it ended before this process began to listen
            return False
        if verdict.peak is None or verdict.unknown:
            return True
        if verdict.succeeded and event.outcome is not EpisodeOutcome.SUCCESS:
            return True  # its success came too late to end the episode
        return abs(verdict.peak - self.rule.threshold) <= self.margin

    def _look_for_drift(self) -> None:
        """Raise the alarm when so little agreement would be too unlikely of a good model.

        It stays until `reward` is started with another model: one that has failed is not believed
        again because of a few labels in its favour.
        """
        recent = self._compared()[-self.window :]
        agreed = sum(label.model_success == label.success for label in recent)
        if not self.watch or self.alarm or len(recent) < FEWEST_LABELS:
            return
        if chance_of_at_most(agreed, len(recent), self.least) < SIGNIFICANCE:
            self.alarm = (
                f"The reward model agreed with {agreed} of the last {len(recent)} labels, too few "
                f"for reward.min_agreement={self.least:g}. Its success ends no episode any more: "
                "label every episode (tmrl label success, tmrl label failure)"
            )


def chance_of_at_most(agreed: int, labels: int, rate: float) -> float:
    """Binomial probability of `agreed` or fewer agreements in `labels`, each likely by `rate`."""
    return sum(comb(labels, i) * rate**i * (1 - rate) ** (labels - i) for i in range(agreed + 1))
