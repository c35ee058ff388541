"""Plots of what the session's own plots do not show: time, progress, actions, delays, faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from tmrl_ros.analysis.digest import Digest
from tmrl_ros.analysis.rows import DecisionRow
from tmrl_ros.session.plots import BLUE, COLORS, GREEN, GREY, ORANGE

RED = "#c92a2a"
COLOR_OF = {**COLORS, "aborted": GREY}
SPANS = {
    "wall_waiting_s": ("between episodes", "#c9ced6"),
    "wall_reset_s": ("resets", GREY),
    "wall_seeing_s": ("waiting for pictures", ORANGE),
    "wall_deciding_s": ("policy and reward", GREEN),
    "wall_moving_s": ("moving", BLUE),
    "wall_other_s": ("rest", "#e3c04b"),
}
DELAYS = {
    "latency_ms": "observation to chunk",
    "processing_ms": "making an observation",
    "inference_ms": "policy inference",
    "reward_latency_ms": "reward",
}
BINS = 40
CHANGED = 1e-3  # m, or of the opening


@dataclass(frozen=True)
class Chart:
    """One plot.

    Attributes:
        name: Stem of its files.
        title: Over the plot.
        text: What it shows, one or two sentences.
        height_in: Of the plot.
        draw: Fills the figure.
    """

    name: str
    title: str
    text: str
    height_in: float
    draw: Callable[[Figure], None]


def charts(digest: Digest) -> list[Chart]:
    """What there is data for, in the order of a report."""
    decisions = [row for row in digest.decisions if row.result]
    moved = [row for row in decisions if row.asked_x is not None]
    sent = [row for row in decisions if row.steps_sent]
    found = [
        Chart(
            "wall_time",
            "Where the time by the clock went",
            "Wall time of the recorder, added up over the episodes, by what was waited for.",
            3.4,
            lambda figure: _wall_time(figure, digest),
        )
    ]
    if any(row.progress is not None for row in digest.decisions):
        text = "The reward's progress at every decision; a line is an episode."
        found.append(
            Chart("progress", "Progress", text, 3.4, lambda figure: _progress(figure, digest))
        )
    if moved:
        text = (
            "The last row of every chunk that was sent: asked by the policy, and sent after the "
            "checks. Off the line the supervisor slowed it down or pulled it in."
        )
        found.append(
            Chart("actions", "Asked and executed", text, 5.6, lambda f: _actions(f, moved))
        )
        text = "How far the arm was from the last target when the chunk was over."
        found.append(
            Chart("tracking", "Executed and measured", text, 3.0, lambda f: _tracking(f, moved))
        )
    if sent:
        text = "Share of a chunk's targets that the supervisor slowed down or pulled in."
        found.append(Chart("clips", "Clipped targets", text, 3.0, lambda f: _clips(f, sent)))
    if decisions:
        text = "Wall time, ms (logarithmic)."
        found.append(Chart("latency", "Delays", text, 3.6, lambda f: _latency(f, decisions)))
    if digest.camera_ages:
        text = (
            "How much older than the robot state a frame was. Zero: cameras that are triggered in "
            "lockstep."
        )
        found.append(
            Chart("camera_age", "Age of camera frames", text, 3.0, lambda f: _ages(f, digest))
        )
    if digest.labels:
        text = "Who said how episodes ended; a word that came after the end counts, too."
        found.append(Chart("labels", "Labels", text, 3.0, lambda f: _labels(f, digest)))
    if digest.safety:
        text = "Every time that the software stop latched, by its code."
        found.append(Chart("safety", "Software stops", text, 3.2, lambda f: _safety(f, digest)))
    if digest.messages:
        height_in = 1.2 + 0.22 * len(digest.messages)
        text = "Messages in the bags (logarithmic), and in red what was sent and is not in them."
        found.append(
            Chart("messages", "Messages by topic", text, height_in, lambda f: _messages(f, digest))
        )
    return found


def _wall_time(figure: Figure, digest: Digest) -> None:
    axes = figure.subplots()
    number = np.arange(1, len(digest.episodes) + 1)
    spans = [np.cumsum([getattr(row, name) for row in digest.episodes]) / 60.0 for name in SPANS]
    labels = [
        f"{label}: {values[-1]:.1f} min"
        for (label, _), values in zip(SPANS.values(), spans, strict=True)
    ]
    colors = [color for _, color in SPANS.values()]
    axes.stackplot(number, spans, labels=labels, colors=colors, lw=0)
    axes.legend(frameon=False, loc="upper left", fontsize=10)
    axes.set_xlabel("episode, in the order they were recorded")
    axes.set_ylabel("minutes")
    axes.set_xlim(1, max(2, len(number)))
    axes.set_ylim(bottom=0)


def _progress(figure: Figure, digest: Digest) -> None:
    axes = figure.subplots()
    lines: dict[int, list[tuple[int, float]]] = {}
    for row in digest.decisions:
        if row.progress is not None:
            lines.setdefault(row.order, []).append((row.decision, row.progress))
    alpha = max(0.08, min(0.8, 12 / len(lines)))
    seen = Counter[str]()
    for order, points in lines.items():
        outcome = digest.episodes[order].outcome
        seen[outcome] += 1
        axes.plot(*zip(*points, strict=True), color=COLOR_OF.get(outcome, GREY), lw=1, alpha=alpha)
    for outcome, count in seen.items():
        axes.plot([], [], color=COLOR_OF.get(outcome, GREY), label=f"{outcome} ({count})")
    axes.legend(frameon=False, loc="upper left")
    axes.set_xlabel("decision")
    axes.set_ylabel("progress, 0 to 1")
    axes.set_ylim(-0.02, 1.05)


def _actions(figure: Figure, rows: Sequence[DecisionRow]) -> None:
    grid = figure.subplots(2, 2)
    changed = np.array([_change(row) > CHANGED for row in rows])
    for axes, name in zip(grid.flat, ("x", "y", "z", "gripper"), strict=True):
        scale, unit = (1.0, "opening") if name == "gripper" else (100.0, "cm")
        asked = scale * np.array([getattr(row, f"asked_{name}") for row in rows])
        done = scale * np.array([getattr(row, f"executed_{name}") for row in rows])
        span = [min(asked.min(), done.min()), max(asked.max(), done.max())]
        axes.plot(span, span, color=GREY, lw=1, zorder=1)
        axes.scatter(asked[~changed], done[~changed], s=5, color=BLUE, label="as asked", lw=0)
        axes.scatter(asked[changed], done[changed], s=7, color=ORANGE, label="changed", lw=0)
        axes.set_title(f"{name}, {unit}", fontsize=11)
        axes.set_xlabel("asked")
        axes.set_ylabel("executed")
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, frameon=False, loc="outside lower center", ncols=2, markerscale=2.5
    )


def _change(row: DecisionRow) -> float:
    """Largest difference of what was sent from what was asked, m or opening."""
    names = ("x", "y", "z", "gripper")
    pairs = [(getattr(row, f"asked_{name}"), getattr(row, f"executed_{name}")) for name in names]
    return float(max(abs(asked - done) for asked, done in pairs))


def _tracking(figure: Figure, rows: Sequence[DecisionRow]) -> None:
    axes = figure.subplots()
    differences = np.array(
        [
            [getattr(row, f"measured_{axis}") - getattr(row, f"executed_{axis}") for axis in "xyz"]
            for row in rows
            if row.measured_x is not None and row.executed_x is not None
        ]
    ).reshape(-1, 3)
    axes.hist(1e3 * np.linalg.norm(differences, axis=1), bins=BINS, color=BLUE)
    axes.set_xlabel("distance, mm")
    axes.set_ylabel("chunks")


def _clips(figure: Figure, rows: Sequence[DecisionRow]) -> None:
    axes = figure.subplots()
    share = [100.0 * row.steps_clipped / row.steps_sent for row in rows]
    axes.hist(share, bins=np.linspace(0, 100, 21).tolist(), color=BLUE)
    axes.set_yscale("symlog", linthresh=10)
    axes.set_xlabel("clipped targets of a chunk, %")
    axes.set_ylabel("chunks")


def _latency(figure: Figure, rows: Sequence[DecisionRow]) -> None:
    axes = figure.subplots()
    for (name, label), color in zip(DELAYS.items(), (BLUE, GREEN, ORANGE, RED), strict=True):
        values = np.array([v for row in rows if (v := getattr(row, name)) is not None])
        values = values[values > 0]
        if not values.size:
            continue
        low, high = np.log10(values.min()), np.log10(values.max())
        bins = np.logspace(low, max(high, low + 0.1), BINS).tolist()
        middle, late = np.percentile(values, [50, 99])
        text = f"{label}: median {middle:.1f}, 99 of 100 within {late:.1f} ms"
        axes.hist(values, bins=bins, histtype="step", lw=1.8, color=color, label=text)
    axes.set_xscale("log")
    axes.set_xlabel("ms")
    axes.set_ylabel("decisions")
    figure.legend(frameon=False, loc="outside lower center", fontsize=10)


def _ages(figure: Figure, digest: Digest) -> None:
    axes = figure.subplots()
    cameras = sorted({row.camera for row in digest.camera_ages})
    ages = [[r.age_ms for r in digest.camera_ages if r.camera == name] for name in cameras]
    top = max(max(values) for values in ages)
    bins = np.linspace(0, max(top, 1.0), BINS).tolist()
    for name, values in zip(cameras, ages, strict=True):
        label = f"{name}: median {np.median(values):.1f}, most {max(values):.1f} ms"
        axes.hist(values, bins=bins, histtype="step", lw=1.8, label=label)
    axes.legend(frameon=False, fontsize=10)
    axes.set_xlabel("ms")
    axes.set_ylabel("frames")


def _labels(figure: Figure, digest: Digest) -> None:
    axes = figure.subplots()
    counts = Counter((row.labelled_by or "nobody", row.outcome) for row in digest.labels)
    persons = sorted({by for by, _ in counts})
    left = np.zeros(len(persons))
    for outcome, color in COLOR_OF.items():
        width = np.array([counts[by, outcome] for by in persons], float)
        if width.any():
            axes.barh(persons, width, left=left, color=color, label=outcome)
            left += width
    figure.legend(frameon=False, loc="outside lower center", ncols=4)
    axes.set_xlabel("labels")
    axes.grid(axis="y", visible=False)


def _safety(figure: Figure, digest: Digest) -> None:
    axes = figure.subplots()
    codes = sorted({row.code for row in digest.safety})
    for place, code in enumerate(codes):
        at = [row.latched_s / 60.0 for row in digest.safety if row.code == code]
        axes.scatter(at, [place] * len(at), s=36, color=RED)
    axes.set_yticks(range(len(codes)), codes)
    axes.set_ylim(-0.7, len(codes) - 0.3)
    axes.set_xlim(-0.02 * digest.wall_s / 60.0, max(1.0, 1.02 * digest.wall_s / 60.0))
    axes.set_xlabel("minutes since the first bag began")


def _messages(figure: Figure, digest: Digest) -> None:
    axes = figure.subplots()
    rows = sorted(digest.messages, key=lambda row: row.recorded)
    names = [row.topic for row in rows]
    gone = [(row.lost or 0) + (row.dropped or 0) for row in rows]
    axes.barh(names, [row.recorded for row in rows], color=BLUE)
    axes.barh(names, gone, left=[row.recorded for row in rows], color=RED)
    axes.set_xscale("log")
    axes.tick_params(axis="y", labelsize=9)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel("messages")
    axes.grid(axis="y", visible=False)
