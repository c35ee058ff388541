"""Plots of a report: plain, labelled in full words, readable at arm's length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tmrl_ros.session.records import EpisodeRecord, of_phase
from tmrl_ros.session.statistics import rolling

WINDOW = 20
DPI = 150
WIDTH_IN = 7.0  # small, so that words stay readable on a phone
BLUE, ORANGE, GREEN, GREY = "#1f5fa8", "#d9731a", "#2b8a3e", "#8a8f98"
COLORS = {"success": GREEN, "failure": "#c92a2a", "timeout": ORANGE}
STYLE: Any = {
    "font.size": 12,
    "axes.titlesize": 12,
    "legend.fontsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.titlelocation": "left",
}


PHASES = {
    "train": "training episode",
    "evaluate_before": "evaluation episode",
    "evaluate_after": "evaluation episode",
    "collect": "collected episode",
    "other": "episode",
}


def draw_plots(
    records: Sequence[EpisodeRecord],
    report: Mapping[str, Any],
    folder: Path,
    *,
    phase: str = "train",
) -> dict[str, Path]:
    """Draw what there is data for.

    Args:
        records: Valid records of the session.
        report: Figures of the report.
        folder: Where the PNG files go; made if missing.
        phase: Whose episodes the plots over episodes show.

    Returns:
        File of every plot drawn, by its title.
    """
    folder.mkdir(parents=True, exist_ok=True)
    training = of_phase(records, phase)
    drawn: dict[str, Path] = {}
    with mpl.rc_context(STYLE):
        if report["success_before"]["n"] or report["success_after"]["n"]:
            drawn["Success before and after"] = save_plot(
                folder / "before_after.png", 3.6, lambda axes: _before_after(axes, report)
            )
        if training:
            title = "Success while training" if phase == "train" else "Success over the episodes"
            drawn[title] = save_plot(
                folder / "success.png", 3.6, lambda axes: _success(axes, training)
            )
            drawn["Where the robot time went"] = save_plot(
                folder / "robot_time.png", 3.0, lambda axes: _robot_time(axes, training)
            )
        if any(record.t_context for record in training):
            drawn["How precise each decision was"] = save_plot(
                folder / "t_context.png", 3.6, lambda axes: _t_context(axes, training)
            )
        metrics = learner_series(training)
        if metrics:
            drawn["What the learner measured"] = _save_metrics(folder / "learner.png", metrics)
    return drawn


def save_plot(path: Path, height_in: float, draw: Callable[[Axes], None]) -> Path:
    """Draw one pair of axes into a PNG file of that height."""
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.subplots())
    figure.savefig(path, dpi=DPI)
    return path


def _before_after(axes: Axes, report: Mapping[str, Any]) -> None:
    names = [("success_before", "before"), ("success_after", "after")]
    for place, (key, _) in enumerate(names):
        rate = report[key]
        if rate["rate"] is None:
            axes.text(place, 0.03, "not measured", ha="center", color=GREY)
            continue
        axes.bar(place, rate["rate"], width=0.55, color=(GREY, BLUE)[place])
        spread = [[rate["rate"] - rate["low"]], [rate["high"] - rate["rate"]]]
        axes.errorbar(place, rate["rate"], yerr=spread, color="black", capsize=6)
        label = f"{100 * rate['rate']:.0f} %  (n = {rate['n']})"
        axes.text(place, min(rate["high"] + 0.02, 1.03), label, ha="center", va="bottom")
    axes.set_xticks([0, 1], [name for _, name in names])
    axes.set_xlim(-0.6, 1.6)
    _percent(axes)
    axes.set_title("Success before and after (line: 95 % interval)")
    axes.grid(axis="x", visible=False)


def _success(axes: Axes, training: Sequence[EpisodeRecord]) -> None:
    number = np.array([record.index + 1 for record in training])
    rates = rolling([record.success for record in training], WINDOW)
    axes.fill_between(
        number, [r.low for r in rates], [r.high for r in rates], color=BLUE, alpha=0.18, lw=0
    )
    axes.plot(number, [r.rate or 0.0 for r in rates], color=BLUE, lw=2, clip_on=False)
    for outcome, color in COLORS.items():
        at = [r.index + 1 for r in training if r.outcome == outcome]
        if at:
            heights = [1.0 if outcome == "success" else 0.0] * len(at)
            axes.scatter(at, heights, s=14, color=color, label=outcome, zorder=3, clip_on=False)
    axes.figure.legend(frameon=False, loc="outside lower center", ncols=3)
    _episodes(axes, training)
    _percent(axes)
    axes.set_title(f"Success over the last {WINDOW} episodes (band: 95 % interval)")


def _t_context(axes: Axes, training: Sequence[EpisodeRecord]) -> None:
    rows = max(len(record.t_context) for record in training)
    grid = np.full((rows, len(training)), np.nan)
    for column, record in enumerate(training):
        grid[: len(record.t_context), column] = record.t_context
    extent = (0.5, len(training) + 0.5, 0.5, rows + 0.5)
    image = axes.imshow(
        grid, aspect="auto", origin="lower", vmin=0, vmax=1, cmap="viridis", extent=extent
    )
    bar = axes.figure.colorbar(image, ax=axes)
    bar.set_label("0 precise, 1 explores")
    axes.grid(visible=False)
    _episodes(axes, training)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("decision")
    axes.set_title("How precise each decision was (white: had ended)")


def _robot_time(axes: Axes, training: Sequence[EpisodeRecord]) -> None:
    number = [record.index + 1 for record in training]
    resets = np.cumsum([record.reset_seconds for record in training]) / 60.0
    total = np.cumsum([record.robot_seconds for record in training]) / 60.0
    axes.fill_between(number, 0, resets, color=GREY, alpha=0.6, lw=0, label="resets")
    axes.fill_between(number, resets, total, color=BLUE, alpha=0.7, lw=0, label="acting")
    axes.legend(frameon=False, loc="upper left")
    _episodes(axes, training)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("robot minutes")
    axes.set_title("Where the robot time went")


def learner_series(training: Sequence[EpisodeRecord]) -> dict[str, list[tuple[int, float]]]:
    """What the learner measured and what changed, by name: number of the episode and value."""
    known = ("transitions", "updates_done", "updates_owed", "updates_per_second")
    series: dict[str, list[tuple[int, float]]] = {}
    for record in training:
        for name, value in record.learner.items():
            if name not in known and isinstance(value, int | float) and np.isfinite(value):
                series.setdefault(name, []).append((record.index + 1, float(value)))
    return {
        name: points
        for name, points in sorted(series.items())
        if len({value for _, value in points}) > 1
    }


def _save_metrics(path: Path, metrics: Mapping[str, Sequence[tuple[int, float]]]) -> Path:
    columns = min(2, len(metrics))
    rows = -(-len(metrics) // columns)
    figure = Figure(figsize=(WIDTH_IN, 2.1 * rows), layout="constrained")
    figure.suptitle("What the learner measured", x=0.01, ha="left", fontsize=12)
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(metrics) :]:
        axes.set_axis_off()
    for axes, (name, points) in zip(grid.flat, metrics.items(), strict=False):
        axes.plot([x for x, _ in points], [y for _, y in points], color=BLUE, lw=1.4)
        axes.set_title(name.replace("_", " "), fontsize=11)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for axes in grid[-1]:
        axes.set_xlabel(PHASES["train"])
    figure.savefig(path, dpi=DPI)
    return path


def _episodes(axes: Axes, training: Sequence[EpisodeRecord]) -> None:
    axes.set_xlim(0.5, training[-1].index + 1.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(PHASES.get(training[-1].phase, "episode"))


def _percent(axes: Axes) -> None:
    axes.set_ylim(0, 1.12)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0 %", "25 %", "50 %", "75 %", "100 %"])
