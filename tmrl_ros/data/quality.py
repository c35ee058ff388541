"""Is a recorded demonstration fit to learn from? What was measured, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from tmrl_ros.core.collect_config import CollectConfig
from tmrl_ros.core.types import NANOSECONDS, ChunkSource, EpisodeOutcome, FloatArray
from tmrl_ros.data.bag_reader import EpisodeRecord, read_episode
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.data.dataset import Trajectory, trajectory_of
from tmrl_ros.data.idle import idle_rows, kept_rows

CLOSED_SHARE = 0.75
"""A gripper told to be less than this share of its widest opening closes."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: a short name, and a sentence with the remedy."""

    code: str
    text: str


@dataclass(frozen=True)
class Quality:
    """What was measured of one demonstration.

    Attributes:
        outcome: Name in lower case; "" for a bag without an end.
        length_s: From its first motion to its end, pauses that are not learned from left out.
        idle_share: Of all control periods, those in which nothing was asked for.
        jump_m: Largest move of the measured tool from one state to the next.
        gap_s: Longest time between two measured states.
        clipped_share: Of all targets, those that the supervisor changed.
        camera_age_s: Oldest picture in an observation, 0 without pictures.
        grasps: Whether the gripper was closed.
        findings: What is wrong, worst first; empty for a good one.
    """

    episode_id: str
    outcome: str = ""
    length_s: float = 0.0
    idle_share: float = 0.0
    jump_m: float = 0.0
    gap_s: float = 0.0
    clipped_share: float = 0.0
    camera_age_s: float = 0.0
    grasps: bool = False
    findings: tuple[Finding, ...] = field(default=())

    @property
    def good(self) -> bool:
        """Whether it may be learned from."""
        return not self.findings


def check_bag(bag: Path, rules: CollectConfig) -> Quality:
    """Measure the demonstration in a bag; a damaged one is a finding too.

    Args:
        bag: Folder of the bag.
        rules: What a good one looks like.
    """
    try:
        record = read_episode(bag, observations=True, robot=True)
    except BagError as error:
        return Quality(bag.name, findings=(Finding("damaged", f"{error} Collect it again."),))
    return quality_of(record, rules)


def quality_of(record: EpisodeRecord, rules: CollectConfig) -> Quality:
    """Measure an episode that was read with its observations, robot states and targets."""
    moves = [item for item in record.outcomes if item.source is not ChunkSource.RESET]
    running = [event.stamp_ns for event in record.events if event.state.name == "RUNNING"]
    end_ns = max((item.stamp_ns for item in moves), default=0)
    track = trajectory_of(record.robot, record.targets, min(running, default=0), end_ns)
    idle = idle_rows(
        track.target_positions, track.target_gripper_width_m, _widths(track), rules.still_m
    )
    period_s = _period_s(track)
    kept = kept_rows(idle, round(rules.pause_s / period_s) if period_s else len(idle))
    sent = sum(item.steps_sent for item in moves)
    ended = record.ended
    widest_m = float(track.gripper_width_m.max(initial=0.0))
    found = Quality(
        episode_id=record.episode_id,
        outcome=ended.outcome.name.lower() if ended else "",
        length_s=float(kept.sum()) * period_s if len(track.target_positions) else 0.0,
        idle_share=float(idle.mean()) if len(idle) else 1.0,
        jump_m=_largest(np.linalg.norm(np.diff(track.ee_positions, axis=0), axis=1)),
        gap_s=_largest(np.diff(track.stamp_ns) / NANOSECONDS),
        clipped_share=sum(item.steps_clipped for item in moves) / sent if sent else 0.0,
        camera_age_s=max((a for o in record.observations for a in o.camera_age_s), default=0.0),
        grasps=bool((track.target_gripper_width_m < CLOSED_SHARE * widest_m).any()),
    )
    complete = record.complete and ended is not None
    findings = tuple(_findings(found, rules, complete=complete))
    return replace(found, findings=findings)


def table(found: Sequence[Quality]) -> str:
    """A line per demonstration, then what is wrong, one sentence per line."""
    head = f"{'episode':<16} {'outcome':<8} {'s':>5} {'idle':>5} {'jump':>7}"
    head += f" {'clipped':>8} {'camera':>7}"
    lines = [head]
    for item in found:
        verdict = "good" if item.good else ", ".join(finding.code for finding in item.findings)
        lines.append(
            f"{item.episode_id:<16} {item.outcome:<8} {item.length_s:5.1f} {item.idle_share:5.0%} "
            f"{100 * item.jump_m:4.1f} cm {item.clipped_share:8.0%} {item.camera_age_s:5.2f} s  "
            f"{verdict}"
        )
    for item in found:
        lines += [f"{item.episode_id}: {finding.text}" for finding in item.findings]
    good = sum(item.good for item in found)
    lines.append(f"{good} of {len(found)} are good; `tmrl pretrain` leaves the others out.")
    return "\n".join(lines)


def as_json(found: Sequence[Quality]) -> str:
    """The same for programs."""
    return json.dumps([asdict(item) for item in found], indent=1)


def _findings(found: Quality, rules: CollectConfig, *, complete: bool) -> list[Finding]:
    """What is wrong with an episode, in sentences."""
    if not complete:  # what is measured of it means nothing
        text = "The bag has no end: run `tmrl bag repair`, or collect it again."
        return [Finding("damaged", text)]
    limits, said = rules.quality, found.outcome
    checks = (
        (
            said != EpisodeOutcome.SUCCESS.name.lower(),
            "label",
            f"It ended as {said}: if it was a success, say `tmrl label success --episode "
            f"{found.episode_id}`.",
        ),
        (
            found.length_s < limits.min_length_s,
            "short",
            f"The arm moved for {found.length_s:.1f} s, less than {limits.min_length_s:g} s: was "
            "the task done already? Put the objects back.",
        ),
        (
            found.length_s > limits.max_length_s,
            "long",
            f"The arm moved for {found.length_s:.1f} s, more than {limits.max_length_s:g} s: begin "
            "nearer to the objects, or raise teleop.max_speed_mps.",
        ),
        (
            found.idle_share > limits.max_idle_share,
            "idle",
            f"Nothing moved in {found.idle_share:.0%} of the time: take the arm when you are ready "
            "to move it.",
        ),
        (
            found.jump_m > limits.max_jump_m,
            "jump",
            f"The measured tool jumped by {100 * found.jump_m:.1f} cm between two states: look at "
            "the arm's clock and its network cable.",
        ),
        (
            found.gap_s > limits.max_gap_s,
            "gap",
            f"No state was heard for {found.gap_s:.2f} s: look at the computer's load and the "
            "network.",
        ),
        (
            found.clipped_share > limits.max_clipped_share,
            "clipped",
            f"The supervisor changed {found.clipped_share:.0%} of the targets: steer more slowly "
            "(teleop.max_speed_mps), and not against walls and boxes.",
        ),
        (
            found.camera_age_s > limits.max_camera_age_s,
            "camera",
            f"A picture was {found.camera_age_s:.2f} s old: look at the cameras' USB ports and "
            "their rate.",
        ),
        (
            limits.needs_grasp and not found.grasps,
            "grasp",
            "The gripper was never closed: press its key, or set collect.quality.needs_grasp=false "
            "for a task without a grasp.",
        ),
    )
    return [Finding(code, text) for wrong, code, text in checks if wrong]


def _widths(track: Trajectory) -> FloatArray:
    """Measured gripper width at every target."""
    if not len(track.stamp_ns):
        return np.zeros(len(track.target_stamp_ns))
    places = np.searchsorted(track.stamp_ns, track.target_stamp_ns)
    found: FloatArray = track.gripper_width_m[np.minimum(places, len(track.stamp_ns) - 1)]
    return found


def _period_s(track: Trajectory) -> float:
    periods_ns = np.diff(track.target_stamp_ns)
    return float(np.median(periods_ns)) / NANOSECONDS if len(periods_ns) else 0.0


def _largest(values: FloatArray) -> float:
    return float(values.max(initial=0.0))
