"""Read one bag into what a report needs of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.analysis.rows import CameraAgeRow, DecisionRow
from tmrl_ros.core import topics
from tmrl_ros.core.attempts import is_earlier
from tmrl_ros.core.types import (
    NANOSECONDS,
    Chunk,
    ChunkSource,
    Episode,
    EpisodeState,
    FloatArray,
    Outcome,
    Reward,
)
from tmrl_ros.data import decode
from tmrl_ros.data.bag_reader import read_about
from tmrl_ros.data.bag_stream import BagStream, is_topic
from tmrl_ros.session.collector import Collector
from tmrl_ros.session.records import EpisodeRecord

TOPICS = (
    topics.EPISODE,
    topics.OBSERVATION,
    topics.ACTION_CHUNK,
    topics.CHUNK_OUTCOME,
    topics.REWARD,
    topics.SAFETY_STATE,
    topics.LEARNER_STATUS,
    topics.ROBOT_STATE,
    topics.ROBOT_TARGET,
)
LATCHED = 0  # SafetyState.STATE_LATCHED
TRACK = 0  # RobotTarget.KIND_TRACK


@dataclass(frozen=True)
class Seen:
    """One observation, without its pictures; `ages_ms` by camera."""

    stamp_ns: int
    sequence: int
    episode_id: str
    ages_ms: Mapping[str, float]
    processing_ms: float


Figures = dict[str, float | None]
Piece = Episode | Chunk | Outcome | Reward | Seen | Figures


@dataclass
class BagDigest:
    """What one bag tells; stamps are the recorder's, ns since the epoch, 0 where there is none.

    `told` holds every message in order of arrival. `pictures` are (h, w, 3) RGB by sequence number,
    all cameras of an observation side by side. `stops` are stamp (wall), code, sentence and value.
    `measured_ns` are the stamps (robot's clock) of the states while the episode ran, `moved_ns`
    those that a target which moves the arm answered.
    """

    folder: Path
    episode_id: str = ""
    complete: bool = True
    begun_ns: int = 0
    last_ns: int = 0
    reset_ns: int = 0
    running_ns: int = 0
    ended_ns: int = 0
    told: list[tuple[int, Piece]] = field(default_factory=list)
    pictures: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    stops: list[tuple[int, str, str, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    prompt: str = ""
    measured_ns: set[int] = field(default_factory=set)
    moved_ns: set[int] = field(default_factory=set)

    def own(self, kind: type) -> dict[int, tuple[int, Any]]:
        """The episode's own pieces of a kind and when they came, by sequence number.

        Left out is what belongs to resets or to an earlier attempt. Of two the valid one counts.
        """
        events = [piece for _, piece in self.told if isinstance(piece, Episode)]
        running_ns = min(
            (
                event.stamp_ns
                for event in events
                if event.state is EpisodeState.RUNNING and event.episode_id == self.episode_id
            ),
            default=0,
        )
        found: dict[int, tuple[int, Any]] = {}
        for stamp_ns, piece in self.told:
            if not isinstance(piece, kind) or not isinstance(
                piece, Chunk | Outcome | Reward | Seen
            ):
                continue
            if piece.episode_id != self.episode_id or _is_old(piece, running_ns):
                continue
            known = found.get(piece.sequence)
            if known is None or not getattr(known[1], "valid", True):
                found[piece.sequence] = (stamp_ns, piece)
        return found

    def idle_periods(self) -> tuple[int, int]:
        """Control periods from the first to the last target, and those of them without one.

        Without a target the arm holds where the chunk before has left it and waits for the next.
        """
        if not self.moved_ns:
            return 0, 0
        first, last = min(self.moved_ns), max(self.moved_ns)
        periods = {stamp for stamp in self.measured_ns if first <= stamp <= last} | self.moved_ns
        return len(periods), len(periods - self.moved_ns)

    def decision_rows(self, order: int, attempt: int) -> list[DecisionRow]:
        """One row per chunk, in order of decision."""
        seen, outcomes, rewards = self.own(Seen), self.own(Outcome), self.own(Reward)
        rows = []
        for sequence, (came_ns, chunk) in sorted(self.own(Chunk).items()):
            outcome = outcomes.get(sequence, (0, None))[1]
            reward = rewards.get(sequence, (0, None))[1]
            asked_ns, observation = seen.get(sequence, (0, None))
            valid = reward is not None and reward.valid
            rows.append(
                DecisionRow(
                    order=order,
                    episode_id=self.episode_id,
                    attempt=attempt,
                    decision=chunk.decision,
                    sequence=sequence,
                    stamp_s=chunk.stamp_ns / NANOSECONDS,
                    actor=chunk.actor,
                    deterministic=chunk.deterministic,
                    t_context=chunk.t_context,
                    z_norm=float(np.linalg.norm(chunk.z)),
                    execute_steps=chunk.execute_steps,
                    result=outcome.result.name.lower() if outcome else "",
                    reason=outcome.reason if outcome else "",
                    steps_sent=outcome.steps_sent if outcome else 0,
                    steps_clipped=outcome.steps_clipped if outcome else 0,
                    steps_human=outcome.human_steps if outcome else 0,
                    chunk_age_s=outcome.chunk_age_s if outcome and outcome.steps_sent else None,
                    processing_ms=observation.processing_ms if observation else None,
                    latency_ms=(came_ns - asked_ns) / 1e6 if observation else None,
                    inference_ms=chunk.inference_ms,
                    reward_latency_ms=reward.latency_ms if reward else None,
                    progress=_number(reward.progress) if valid else None,
                    success_probability=_number(reward.success_probability) if valid else None,
                    reward_success=reward.success if valid else None,
                    **_last_rows(chunk, outcome),
                )
            )
        return rows

    def camera_rows(self, order: int) -> list[CameraAgeRow]:
        """How old every frame was."""
        decisions = {sequence: chunk.decision for sequence, (_, chunk) in self.own(Chunk).items()}
        return [
            CameraAgeRow(order, self.episode_id, decisions.get(sequence, -1), camera, age_ms)
            for sequence, (_, seen) in sorted(self.own(Seen).items())
            for camera, age_ms in seen.ages_ms.items()
        ]

    def wall_split(self, before_ns: int) -> dict[str, float]:
        """Wall time by what was waited for, as `EpisodeRow.wall_*_s`; `before_ns`: the end before.

        Topics are received one after the other, so single spans may come out a little below zero;
        they count as none.
        """
        started_ns = self.reset_ns or self.begun_ns
        running_ns = self.running_ns or self.ended_ns
        seeing = deciding = moving = 0
        chunks, outcomes = self.own(Chunk), self.own(Outcome)
        free_ns = running_ns
        for sequence, (seen_ns, _) in sorted(self.own(Seen).items()):
            # What is done while the chunk before still moves the arm takes no time of its own.
            seen_at = max(seen_ns, free_ns)
            seeing += seen_at - free_ns
            asked_at = max(chunks.get(sequence, (seen_ns, None))[0], seen_at)
            deciding += asked_at - seen_at
            free_ns = max(outcomes.get(sequence, (asked_at, None))[0], asked_at)
            moving += free_ns - asked_at
        whole = max(0, self.ended_ns - running_ns)
        spans = {
            "waiting": max(0, started_ns - before_ns) if before_ns else 0,
            "reset": max(0, running_ns - started_ns),
            "seeing": seeing,
            "deciding": deciding,
            "moving": moving,
            "other": max(0, whole - seeing - deciding - moving),
        }
        return {f"wall_{name}_s": round(span / NANOSECONDS, 4) for name, span in spans.items()}


def read_bag(folder: Path) -> BagDigest:
    """Read a bag up to its end, or to its last whole chunk.

    Raises:
        BagError: There is no `.mcap` file.
        ValueError: A message in it is not what its definition says.
    """
    found = BagDigest(folder, episode_id=read_about(folder).get("episode_id", ""))
    stream = BagStream(folder)
    names: dict[str, str | None] = {}
    for message in stream:
        found.begun_ns = found.begun_ns or message.stamp_ns
        found.last_ns = max(found.last_ns, message.stamp_ns)
        found.counts[message.topic] += 1
        if message.topic not in names:
            matches = [name for name in TOPICS if is_topic(message.topic, name)]
            names[message.topic] = max(matches, key=len, default=None)
        if (name := names[message.topic]) is not None:
            _take(found, name, message.decode(), message.stamp_ns)
    found.complete = stream.complete
    return found


def tell(
    collector: Collector, piece: Piece, now_s: float, job_wall_s: float
) -> EpisodeRecord | None:
    """Tell the session's collector what a live session would have heard."""
    match piece:
        case Seen():
            collector.on_observation(piece.stamp_ns, now_s)
        case Chunk():
            collector.on_chunk(piece, now_s)
        case Outcome():
            collector.on_outcome(piece)
        case Episode():
            return collector.on_episode(piece, now_s, job_wall_s)
        case dict():
            collector.learner = piece
    return None


def learner_figures(msg: Any) -> Figures:
    """What a `LearnerStatus` says, by name; None for what is not finite."""
    names = ("transitions", "updates_done", "updates_owed", "updates_per_second")
    figures: Figures = {name: float(getattr(msg, name)) for name in names}
    for name, value in zip(msg.metric_names, msg.metric_values, strict=False):
        figures[str(name)] = _number(value)
    return figures


def _take(found: BagDigest, name: str, msg: Any, stamp_ns: int) -> None:
    piece: Piece
    match name:
        case topics.ROBOT_STATE | topics.ROBOT_TARGET:
            if found.running_ns and not found.ended_ns:
                _take_motion(found, msg, is_target=name == topics.ROBOT_TARGET)
            return
        case topics.EPISODE:
            piece = decode.episode(msg)
            _take_event(found, piece, stamp_ns)
        case topics.OBSERVATION:
            piece = _seen(msg)
            pictures = [decode.rgb_image(image) for image in msg.images]
            if pictures and len({picture.shape[0] for picture in pictures}) == 1:
                found.pictures[piece.sequence] = np.concatenate(pictures, axis=1)
        case topics.ACTION_CHUNK:
            piece = decode.chunk(msg)
        case topics.CHUNK_OUTCOME:
            piece = decode.outcome(msg)
        case topics.REWARD:
            piece = decode.reward(msg)
        case topics.LEARNER_STATUS:
            piece = learner_figures(msg)
        case _:
            if int(msg.state) == LATCHED and msg.code:
                latched_ns = decode.to_ns(msg.latched_at) or stamp_ns
                found.stops.append((latched_ns, str(msg.code), str(msg.message), str(msg.value)))
            return
    found.told.append((stamp_ns, piece))


def _take_motion(found: BagDigest, msg: Any, *, is_target: bool) -> None:
    stamp_ns = decode.to_ns(msg.header.stamp)
    if not is_target:
        found.measured_ns.add(stamp_ns)
    elif msg.kind == TRACK:
        found.moved_ns.add(stamp_ns)


def _take_event(found: BagDigest, event: Episode, stamp_ns: int) -> None:
    if event.state is not EpisodeState.IDLE:
        found.episode_id = found.episode_id or event.episode_id
    if event.episode_id != found.episode_id:
        return
    found.prompt = event.prompt or found.prompt
    match event.state:
        case EpisodeState.RESETTING:
            found.reset_ns = found.reset_ns or stamp_ns
        case EpisodeState.RUNNING:
            found.running_ns = found.running_ns or stamp_ns
        case EpisodeState.ENDED:
            found.ended_ns = found.ended_ns or stamp_ns


def _seen(msg: Any) -> Seen:
    ages = zip(msg.camera_names, msg.camera_age_s, strict=False)
    return Seen(
        stamp_ns=decode.to_ns(msg.header.stamp),
        sequence=int(msg.sequence),
        episode_id=str(msg.episode_id),
        ages_ms={str(name): 1e3 * float(age_s) for name, age_s in ages},
        processing_ms=float(msg.processing_ms),
    )


def _last_rows(chunk: Chunk, outcome: Outcome | None) -> dict[str, float]:
    """What was asked for, sent and reached with the last row that was sent, by column."""
    first = chunk.committed_steps
    sent = min(outcome.steps_sent, len(chunk.actions) - first) if outcome else 0
    if outcome is None or not sent or chunk.actions.shape[1] != 4:
        return {}
    kinds: dict[str, FloatArray] = {
        "asked": chunk.actions[first:],
        "executed": outcome.executed,
        "measured": outcome.measured,
    }
    return {
        f"{kind}_{column}": float(value)
        for kind, rows in kinds.items()
        if len(rows) >= sent
        for column, value in zip(("x", "y", "z", "gripper"), rows[sent - 1], strict=True)
    }


def _is_old(piece: Chunk | Outcome | Reward | Seen, running_ns: int) -> bool:
    """Whether a piece belongs to the reset, or to an earlier attempt."""
    if isinstance(piece, Seen):
        return piece.stamp_ns < running_ns
    if not isinstance(piece, Reward) and piece.source is ChunkSource.RESET:
        return True
    return is_earlier(piece, running_ns)


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
