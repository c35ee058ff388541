"""Judge recorded episodes again with a reward bundle; the bags stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tmrl_ros.core.types import Reward
from tmrl_ros.data.bag_reader import bag_folders, is_label
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.data.reward_sidecar import Sidecar, choose, write_sidecar
from tmrl_ros.rewards.debounce import Debounce
from tmrl_ros.rewards.learned.recorded import RecordedFrames, recorded_frames
from tmrl_ros.rewards.model import CalibratedModel, Image, JudgementError


@dataclass(frozen=True)
class Relabelled:
    """One episode judged again: whether success was said before (None if not known) and now."""

    episode_id: str
    before: bool | None
    now: bool
    estimates: int
    unknown: int


def relabel(
    session: Path,
    model: CalibratedModel,
    command: str,
    progress: Callable[[int, int], None] | None = None,
) -> list[Relabelled]:
    """Judge every episode of a session and let these estimates count from now on.

    Args:
        session: A session's folder.
        model: Judges them.
        command: Written down, to make it again.
        progress: Called with episodes done and episodes in all.

    Raises:
        BagError: There is no bag, or one lacks pictures of the model's cameras.
    """
    if not session.is_dir() or not (bags := bag_folders(session)):
        raise BagError(f"{session} holds no bags: name a session's folder.")
    bags = [bag for bag in bags if not is_label(bag.name)]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    rule = model.calibration
    values = {"threshold": rule.threshold, "k": float(rule.k), "n": float(rule.n)}
    done = []
    for number, bag in enumerate(bags, start=1):
        seen = recorded_frames(bag, model.cameras)
        if seen is not None and seen.record.ended is not None:  # None: it is being recorded
            rewards = judge_recorded(model, seen)
            episode_id = seen.record.episode_id
            write_sidecar(
                bag, Sidecar(episode_id, model.name, model.hash, values, now, command, rewards)
            )
            done.append(_compared(seen, rewards))
        if progress:
            progress(number, len(bags))
    choose(session, model.hash)
    return done


def summary(session: Path, done: Sequence[Relabelled], model: CalibratedModel) -> str:
    """One sentence on what judging again has found."""
    changed = sum(item.before is not None and item.before != item.now for item in done)
    return (
        f"{session}: {len(done)} episodes judged by {model.name} {model.hash}; "
        f"{sum(item.now for item in done)} succeed, {changed} otherwise than recorded, "
        f"{sum(item.unknown for item in done)} frames not judged."
    )


def judge_recorded(model: CalibratedModel, seen: RecordedFrames) -> list[Reward]:
    """Estimates of one recorded episode, as the reward node would have made them."""
    rule = model.calibration
    votes = Debounce(rule.k, rule.n)
    model.begin_episode(seen.prompt)
    rewards = []
    for observation, frames in zip(seen.observations, seen.frames, strict=True):
        blank = Reward(
            stamp_ns=observation.stamp_ns,
            sequence=observation.sequence,
            episode_id=observation.episode_id,
            decision=observation.decision,
            valid=False,
            progress=float("nan"),
            success_probability=float("nan"),
            success=False,
            failure=False,
            model=model.name,
            model_hash=model.hash,
        )
        rewards.append(_judged(model, list(frames), rule.threshold, votes, blank))
    return rewards


def _judged(
    model: CalibratedModel, images: list[Image], threshold: float, votes: Debounce, blank: Reward
) -> Reward:
    try:
        found = model.observe(images)
    except JudgementError as error:
        return replace(blank, error=str(error))
    return replace(
        blank,
        valid=True,
        progress=found.progress,
        success_probability=found.success_probability,
        success=votes.update(found.success_probability >= threshold),
        latency_ms=found.latency_ms,
    )


def _compared(seen: RecordedFrames, rewards: list[Reward]) -> Relabelled:
    recorded = [item for item in seen.record.rewards if item.valid]
    return Relabelled(
        seen.record.episode_id,
        any(item.success for item in recorded) if recorded else None,
        any(item.success for item in rewards),
        len(rewards),
        sum(not item.valid for item in rewards),
    )
