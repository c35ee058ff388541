"""Evaluate a judge on labelled episodes: how well it orders, and what its success is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tmrl_ros.core.types import Float32Array
from tmrl_ros.rewards.learned import metrics
from tmrl_ros.rewards.learned.baselines import Judge
from tmrl_ros.rewards.learned.calibration import Scored, calibrate, count, fires_at
from tmrl_ros.rewards.learned.episodes import LabelledEpisode, Video
from tmrl_ros.rewards.model import Calibration

HALF_WAY = 0.5
"""Failures that came this far count as suboptimal in rankings, and as near misses."""


@dataclass(frozen=True)
class JudgedEpisode:
    """An episode, and what was said about it: progress (T,) and success probability (T,)."""

    episode: LabelledEpisode
    progress: Float32Array
    probability: Float32Array

    @property
    def scored(self) -> Scored:
        """For calibration and counting."""
        return Scored(self.probability, self.episode.success)

    @property
    def quality(self) -> int:
        """3 succeeds, 2 came at least half-way, 1 neither."""
        if self.episode.succeeds:
            return 3
        return 2 if self.best >= HALF_WAY else 1

    @property
    def best(self) -> float:
        """How far it came at its best; 0 where nobody knows."""
        return float(np.nan_to_num(self.episode.progress, nan=0.0).max())


def judge_all(
    judge: Judge, episodes: Sequence[LabelledEpisode], rng: np.random.Generator
) -> list[JudgedEpisode]:
    """Judge every episode under one of its prompts, each video once."""
    groups: dict[int, list[LabelledEpisode]] = {}
    for episode in episodes:
        groups.setdefault(id(episode.video), []).append(episode)
    judged = []
    for group in groups.values():
        prompts = [str(rng.choice(episode.prompts)) for episode in group]
        answers = judge(group[0].video.frames, prompts)
        judged += [JudgedEpisode(e, *a) for e, a in zip(group, answers, strict=True)]
    return judged


def evaluate(
    judge: Judge,
    episodes: Sequence[LabelledEpisode],
    rule: Calibration | None,
    *,
    calibration: Sequence[LabelledEpisode] = (),
    frame_s: float = 0.4,
    seed: int = 0,
) -> tuple[dict[str, Any], list[JudgedEpisode], Calibration]:
    """All figures of a judge.

    Args:
        judge: What is evaluated.
        episodes: Held-out episodes.
        rule: Its rule for success; None measures one on `calibration`.
        calibration: Other held-out episodes, used only where `rule` is None.
        frame_s: Time between two frames.
        seed: Of the choice among prompts that mean the same, and of rewound clips.

    Returns:
        The figures by name (None where the episodes do not allow one), what was judged, the rule.
    """
    rng = np.random.default_rng(seed)
    if rule is None:
        rule, _ = calibrate([item.scored for item in judge_all(judge, calibration, rng)])
    judged = judge_all(judge, episodes, rng)
    figures = _ordering(judged) | _success(judged, rule)
    figures["rule"] = asdict(rule)
    figures["wrong_instruction"] = _wrong_instruction(judged, rule)
    figures["rewind_spearman"] = _rewind(judge, judged, rng)
    figures["run_on"] = _run_on(judged, rule, round(3.0 / frame_s))
    return figures, judged, rule


def _ordering(judged: Sequence[JudgedEpisode]) -> dict[str, Any]:
    """Figures of progress."""
    done = [item for item in judged if item.episode.succeeds]
    ends = [int(np.argmax(item.episode.success)) + 1 for item in done]
    final = np.array([item.progress[-1] for item in judged])
    quality = np.array([_final_quality(item) for item in judged])
    known = [~np.isnan(item.episode.progress) for item in judged]
    errors = [
        np.abs(item.progress - item.episode.progress)[where]
        for item, where in zip(judged, known, strict=True)
    ]
    return {
        "episodes": len(judged),
        "videos": len({id(item.episode.video) for item in judged}),
        "voc": metrics.value_order_correlation(
            [item.progress[:end] for item, end in zip(done, ends, strict=True)],
            [item.episode.progress[:end] for item, end in zip(done, ends, strict=True)],
        ),
        "kendall_tau_a": metrics.kendall_tau_a(final, quality),
        "ranking_accuracy": metrics.ranking_accuracy(final, quality),
        "progress_error": float(np.concatenate(errors).mean()) if errors else None,
    }


def _final_quality(item: JudgedEpisode) -> int:
    """Like `quality`, but of the last frame, as that is what a ranking judges."""
    outcome = item.episode.outcome
    return 3 if outcome == 1.0 else 2 if outcome >= HALF_WAY else 1


def _success(judged: Sequence[JudgedEpisode], rule: Calibration) -> dict[str, Any]:
    """Figures of success: over frames, over episodes, and with the rule, in counts."""
    highest = np.array([item.probability.max() for item in judged])
    succeeds = np.array([item.episode.succeeds for item in judged])
    near = [item for item in judged if item.quality == 2]
    kinds = sorted({item.episode.video.kind for item in judged})
    return {
        "success_auprc": metrics.average_precision(
            np.concatenate([item.probability for item in judged]),
            np.concatenate([item.episode.success for item in judged]),
        ),
        "true_positives_at_zero_false": metrics.true_positives_at_zero_false(highest, succeeds),
        "with_rule": asdict(count([item.scored for item in judged], rule)),
        "near_misses": asdict(count([item.scored for item in near], rule)),
        "with_rule_by_kind": {
            kind: asdict(count([i.scored for i in judged if i.episode.video.kind == kind], rule))
            for kind in kinds
        },
    }


def _wrong_instruction(judged: Sequence[JudgedEpisode], rule: Calibration) -> dict[str, Any]:
    """What is said where another instruction was met: margin of progress, and false successes."""
    right = {id(i.episode.video): i for i in judged if i.episode.outcome == 1.0}
    wrong = [
        item for item in judged if id(item.episode.video) in right and not item.episode.succeeds
    ]
    margins = [right[id(i.episode.video)].progress[-1] - i.progress[-1] for i in wrong]
    fired = [fires_at(item.probability, rule) is not None for item in wrong]
    return {
        "episodes": len(wrong),
        "margin": float(np.mean(margins)) if margins else None,
        "false_positives": sum(fired),
    }


def _rewind(
    judge: Judge, judged: Sequence[JudgedEpisode], rng: np.random.Generator, most: int = 60
) -> float | None:
    """Play successes to the end and back: rank correlation with the truth on the way back."""
    found = []
    for item in [i for i in judged if i.episode.succeeds][:most]:
        end = int(np.argmax(item.episode.success)) + 1
        if end < 4:
            continue
        order = np.array([*range(end), *range(end - 2, -1, -1)])
        prompt = str(rng.choice(item.episode.prompts))
        progress, _ = judge(item.episode.video.frames[order], [prompt])[0]
        found.append(metrics.spearman(progress[end - 1 :], item.episode.progress[order][end - 1 :]))
    return float(np.mean(found)) if found else None


def _run_on(judged: Sequence[JudgedEpisode], rule: Calibration, frames: int) -> dict[str, Any]:
    """Where the task stays done for so many frames: whether the model still says so then."""
    now, later = [], []
    for item in judged:
        first = int(np.argmax(item.episode.success))
        after = item.episode.success[first : first + frames + 1]
        if item.episode.succeeds and len(after) == frames + 1 and after.all():
            now.append(float(item.probability[first]))
            later.append(float(item.probability[first + frames]))
    still = [value >= rule.threshold for value in later]
    return {
        "episodes": len(now),
        "frames": frames,
        "probability_at_success": float(np.mean(now)) if now else None,
        "probability_later": float(np.mean(later)) if later else None,
        "still_said": sum(still),
    }


def show_cases(judged: Sequence[JudgedEpisode], most: int) -> list[JudgedEpisode]:
    """Episodes worth looking at: of each kind of video one that came far, and one that did not."""
    shown: list[JudgedEpisode] = []
    for kind in sorted({item.episode.video.kind for item in judged}):
        of_kind = [item for item in judged if item.episode.video.kind == kind]
        seen: set[int] = set()
        for item in sorted(of_kind, key=lambda i: (-i.quality, -i.best)):
            if item.quality not in seen and id(item.episode.video) not in seen:
                seen |= {item.quality, id(item.episode.video)}
                shown.append(item)
    return shown[:most]


def errors_of(judged: Sequence[JudgedEpisode], rule: Calibration) -> list[JudgedEpisode]:
    """Episodes that the rule gets wrong: a success missed, or one seen where there is none."""
    wrong = []
    for item in judged:
        result = count([item.scored], rule)
        if result.false_positives or result.found < result.successes:
            wrong.append(item)
    return wrong


def key_frames(video: Video, most: int = 7) -> list[int]:
    """Frames to show beside a curve."""
    return sorted(set(np.linspace(0, len(video) - 1, most).round().astype(int).tolist()))
