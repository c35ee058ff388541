"""Bags of demonstrations and of play, whose paths are known to the millimetre."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from episode_events import event
from numpy.typing import NDArray
from recorded import chunk, observation, outcome, put, sample, target

from tmrl_ros.core.types import ChunkResult, ChunkSource, EpisodeOutcome, EpisodeState, Phase, Pose
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.nodes import convert

PERIOD_NS = 50_000_000
ROWS = 4
WIDE_M = 0.08
DOWN = np.array([1.0, 0.0, 0.0, 0.0])
Path4 = NDArray[np.float64]  # (L, 4): x y z in metres, gripper opening 0..1


def line(start: Sequence[float], goal: Sequence[float], seconds: float, opening: float) -> Path4:
    """A straight way at 20 Hz, without its first point."""
    share = np.linspace(0, 1, round(20 * seconds) + 1)[1:, None]
    places = (1 - share) * np.asarray(start) + share * np.asarray(goal)
    return np.concatenate([places, np.full((len(places), 1), opening)], axis=1)


def rest(at: Sequence[float], seconds: float, opening: float) -> Path4:
    """Standing still."""
    return np.tile([*at[:3], opening], (round(20 * seconds), 1))


def write_bag(
    folder: Path,
    name: str,
    path: Path4,
    *,
    outcome_said: EpisodeOutcome = EpisodeOutcome.SUCCESS,
    method: str = "person",
    clipped: int = 0,
    camera_age_s: float = 0.0,
    later: Sequence[object] = (),
    released_at: int | None = None,
) -> Path:
    """One episode in which the arm followed `path` (20 Hz) at once; a chunk is `ROWS` rows.

    In the middle of the chunk `released_at` somebody let go of the hold-to-run button.
    """
    widths = path[:, 3]
    how = {"phase": Phase.COLLECT, "method": method}
    decisions = len(path) // ROWS
    end_ns = decisions * ROWS * PERIOD_NS
    bag = folder / name
    writer = BagWriter(bag, custom={"episode_id": name})
    try:
        put(writer, event(name, EpisodeState.RUNNING, stamp_ns=0, **how))
        put(writer, _sample(0, path[0], widths[0]))
        for decision in range(decisions):
            first = decision * ROWS
            cut = decision == released_at
            count = ROWS // 2 if cut else ROWS
            seen = observation(decision, name)
            seen.robot = convert.robot_to_msg(_sample(first, path[first], widths[first]))
            seen.state = [*map(float, path[first])]
            seen.camera_age_s = [camera_age_s, 0.0]
            put(writer, seen)
            put(writer, chunk(decision, name, execute_steps=ROWS, source=ChunkSource.HUMAN))
            for row in range(first, first + count):
                asked = Pose(path[row, :3], DOWN)
                sent = target(row)
                width_m = WIDE_M * float(path[row, 3])
                put(writer, replace(sent, pose=asked, gripper_width_m=width_m))
                put(writer, _sample(row + 1, path[row], widths[row]))
            for row in range(first + count, first + ROWS):  # it holds, and says so
                put(writer, _sample(row + 1, path[first + count - 1], widths[first]))
            done = outcome(decision, name, source=ChunkSource.HUMAN)
            result = ChunkResult.ABORTED if cut else ChunkResult.EXECUTED
            rows = done.executed[:count]
            put(
                writer,
                replace(
                    done,
                    result=result,
                    steps_sent=count,
                    steps_clipped=clipped,
                    executed=rows,
                    measured=rows,
                    sources=done.sources[:count],
                ),
            )
        ended = event(name, EpisodeState.ENDED, outcome_said, decisions, "operator", end_ns, **how)
        put(writer, ended)
        for piece in later:
            put(writer, piece)
    finally:
        writer.close()
    return bag


def _sample(tick: int, at: NDArray[np.float64], opening: float):
    return replace(
        sample(tick), ee_pose=Pose(at[:3].copy(), DOWN), gripper_width_m=WIDE_M * float(opening)
    )


def good_path(idle_s: float = 0.0, pause_s: float = 0.0) -> Path4:
    """Look, go down, close, pause, lift."""
    above, low = [0.45, 0.0, 0.20], [0.50, 0.05, 0.02]
    parts = [
        line(above, low, 2.0, 1.0),
        rest(low, 0.5, 0.0),
        line(low, [0.5, 0.05, 0.15], 1.5, 0.0),
    ]
    if idle_s:
        parts.insert(0, rest(above, idle_s, 1.0))
    if pause_s:
        parts.insert(-1, rest(low, pause_s, 0.0))
    return np.concatenate(parts)
