"""From data to a bundle, and from a bundle to its figures: what `tmrl reward` runs."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.rewards.learned import baselines
from tmrl_ros.rewards.learned.bundle import (
    CalibrationRecord,
    RewardSpec,
    TrainingRecord,
    load_bundle,
    network_spec,
    save_bundle,
)
from tmrl_ros.rewards.learned.calibration import calibrate
from tmrl_ros.rewards.learned.episodes import LabelledEpisode, data_hash
from tmrl_ros.rewards.learned.evaluation import errors_of, evaluate, judge_all, show_cases
from tmrl_ros.rewards.learned.instructions import instructions
from tmrl_ros.rewards.learned.model import ModelSize, RewardNetwork
from tmrl_ros.rewards.learned.plots import draw_episodes
from tmrl_ros.rewards.learned.recorded import episodes_from_bags
from tmrl_ros.rewards.learned.simulate import EpisodeSimulator
from tmrl_ros.rewards.learned.training import Losses, TrainingSettings, train
from tmrl_ros.rewards.model import Calibration

Groups = list[list[LabelledEpisode]]
"""Videos, each judged against one or several instructions."""

SEEDS_PER_RUN = 1000
HELD_OUT_SEED = 500_000
"""Seeds of evaluations start here; those of training data end below."""
CALIBRATION_SHARE = 0.3


@dataclass(frozen=True)
class Sources:
    """Where episodes come from: recorded sessions, the simulation, or both.

    Attributes:
        sessions: Folders of sessions.
        videos: Simulated episodes to train on, 0 for none.
        calibration_videos: Simulated episodes to calibrate on.
    """

    sessions: tuple[Path, ...] = ()
    videos: int = 0
    calibration_videos: int = 0

    def __str__(self) -> str:
        names = [path.name for path in self.sessions]
        return ", ".join([*names, *([f"{self.videos} simulated episodes"] if self.videos else [])])


@dataclass(frozen=True)
class Order:
    """What is to be trained, and where it goes."""

    config: Config
    sources: Sources
    out: Path
    command: str
    settings: TrainingSettings = field(default_factory=TrainingSettings)


def train_bundle(order: Order) -> RewardSpec:
    """Gather episodes, train, calibrate on held-out ones, write the bundle.

    Raises:
        OperatorError: There are no episodes, or none of one kind.
    """
    started_s = time.monotonic()
    learn, held_out = gather(order.config, order.sources, order.settings.seed)
    episodes = [episode for group in learn for episode in group]
    _check(episodes, "to learn from")
    _check([episode for group in held_out for episode in group], "to calibrate on")
    print(
        f"{len(learn)} videos to learn from, {len(held_out)} to calibrate on; "
        f"{sum(e.succeeds for e in episodes)} of {len(episodes)} judged episodes succeed",
        flush=True,
    )
    cameras = [camera.name for camera in order.config.cameras.cameras]
    height, width = episodes[0].video.frames.shape[2:4]
    size = ModelSize(cameras=len(cameras), image_height=height, image_width=width)
    last = Losses()

    def show(step: int, losses: Losses) -> None:
        nonlocal last
        last = replace(losses)
        if step % 100 == 0 or step == order.settings.steps:
            print(
                f"step {step}/{order.settings.steps}: progress {losses.progress:.3f}, "
                f"success {losses.success:.3f}, preference {losses.preference:.3f}",
                flush=True,
            )

    network = train(episodes, size, order.settings, show)
    spec = RewardSpec(
        task=order.config.task.name,
        cameras=cameras,
        prompts=sorted({tuple(e.prompts): list(e.prompts) for e in episodes}.values()),
        network=network_spec(size),
        calibration=_calibration(network, held_out, order.settings.seed),
        training=TrainingRecord(
            command=order.command,
            source=str(order.sources),
            videos=len(learn),
            episodes=len(episodes),
            videos_by_kind=dict(sorted(Counter(g[0].video.kind for g in learn).items())),
            calibration_videos=len(held_out),
            steps=order.settings.steps,
            seed=order.settings.seed,
            data_sha256=data_hash(episodes),
            losses={
                "progress": last.progress,
                "success": last.success,
                "preference": last.preference,
            },
            wall_s=round(time.monotonic() - started_s, 1),
        ),
    )
    return save_bundle(order.out, spec, network)


def calibrate_bundle(folder: Path, held_out: Groups, seed: int) -> RewardSpec:
    """Measure anew when success counts; the weights stay as they are.

    Args:
        folder: The bundle, which is changed.
        held_out: Episodes that it was not trained on.
        seed: Of everything random.

    Raises:
        OperatorError: There are no episodes, or none of one kind.
    """
    _check([episode for group in held_out for episode in group], "to calibrate on")
    spec, network = load_bundle(folder)
    training = spec.training.model_copy(update={"calibration_videos": len(held_out)})
    found = _calibration(network, held_out, seed)
    spec = spec.model_copy(update={"calibration": found, "training": training})
    return save_bundle(folder, spec, network)


def gather(config: Config, sources: Sources, seed: int) -> tuple[Groups, Groups]:
    """Episodes to train on, and held-out ones to calibrate on."""
    learn: Groups = []
    held_out: Groups = []
    if sources.videos:
        print(f"Simulating {sources.videos + sources.calibration_videos} episodes ...", flush=True)
        first = seed * SEEDS_PER_RUN
        learn += simulated(config, sources.videos, first)
        held_out += simulated(config, sources.calibration_videos, first + 1)
    rng = np.random.default_rng(seed)
    for session in sources.sessions:
        found = recorded(config, session)
        chosen = rng.permutation(len(found)) < CALIBRATION_SHARE * len(found)
        for group, hold in zip(found, chosen, strict=True):
            (held_out if hold else learn).append(group)
    return learn, held_out


def simulated(config: Config, count: int, seed: int, kind: str | None = None) -> Groups:
    """Simulated episodes of a task (`EpisodeSimulator.episodes`)."""
    simulator = EpisodeSimulator(config)
    try:
        return list(simulator.episodes(count, seed, kind=kind))
    finally:
        simulator.close()


def recorded(config: Config, session: Path) -> Groups:
    """Recorded episodes of a session (`episodes_from_bags`)."""
    cameras = [camera.name for camera in config.cameras.cameras]
    return list(episodes_from_bags(session, cameras, instructions(config)))


def evaluate_bundle(
    folder: Path,
    episodes: Groups,
    out: Path,
    *,
    seed: int,
    calibration: Groups = (),  # type: ignore[assignment]
    progress_only: Path | None = None,
) -> dict[str, Any]:
    """Figures of a bundle and of the baselines; writes `evaluation.json` and plots to `out`.

    Args:
        folder: The bundle.
        episodes: Held-out episodes.
        out: Made if missing.
        seed: Of everything random in the evaluation.
        calibration: Held-out episodes for the baselines' thresholds; `episodes` if empty, which
            flatters them.
        progress_only: A bundle trained with `--progress-only`; the model's own progress if None.
    """
    spec, network = load_bundle(folder)
    rule = Calibration(spec.calibration.threshold, spec.calibration.k, spec.calibration.n)
    flat = [episode for group in episodes for episode in group]
    for_rule = [episode for group in (calibration or episodes) for episode in group]
    longest = max(len(episode.video) for episode in flat)
    other = load_bundle(progress_only)[1] if progress_only else network
    figures, judged, _ = evaluate(baselines.model(network), flat, rule, seed=seed)
    result: dict[str, Any] = {
        "bundle": folder.name,
        "model_hash": spec.digest(),
        "seed": seed,
        "model": figures,
    }
    for name, judge in (
        ("time_index", baselines.time_index(longest)),
        ("progress_only", baselines.progress_only(other)),
    ):
        result[name], _, _ = evaluate(judge, flat, None, calibration=for_rule, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(json.dumps(result, indent=1) + "\n")
    draw_episodes(show_cases(judged, 12), rule, out / "episodes.png", "What the model says")
    draw_episodes(errors_of(judged, rule)[:12], rule, out / "errors.png", "Where it is wrong")
    return result


def _calibration(network: RewardNetwork, held_out: Groups, seed: int) -> CalibrationRecord:
    episodes = [episode for group in held_out for episode in group]
    rng = np.random.default_rng(seed)
    judged = judge_all(baselines.model(network), episodes, rng)
    rule, found = calibrate([item.scored for item in judged])
    return CalibrationRecord(
        threshold=rule.threshold,
        k=rule.k,
        n=rule.n,
        episodes=found.episodes,
        successes=found.successes,
        found=found.found,
        false_positives=found.false_positives,
    )


def _check(episodes: Sequence[LabelledEpisode], purpose: str) -> None:
    """A model needs both: what success looks like, and what it does not."""
    succeed = sum(episode.succeeds for episode in episodes)
    if not succeed or succeed == len(episodes):
        what = "no success" if not succeed else "no failure"
        raise OperatorError(
            f"Among the {len(episodes)} episodes {purpose} there is {what}: record and label some "
            "more, or add simulated ones with --simulate."
        )
