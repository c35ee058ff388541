"""Pictures of what a reward model says: progress over frames, beside the frames themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tmrl_ros.rewards.learned.episodes import Frames
from tmrl_ros.rewards.learned.evaluation import JudgedEpisode, key_frames
from tmrl_ros.rewards.model import Calibration

BLUE, GREEN, GREY, RED = "#1f5fa8", "#2b8a3e", "#8a8f98", "#c92a2a"
STYLE: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
WHAT_HAPPENED = {
    "held_low": "held, but too low",
    "drop": "let go",
    "fumble": "grasped beside the middle",
    "miss": "closed beside the object",
    "stall": "stood still",
    "success": "lifted",
    "wander": "carried around",
    "wander_empty": "moved around with an empty gripper",
    "policy": "policy under random exploration",
}


def draw_episodes(
    shown: Sequence[JudgedEpisode], rule: Calibration, path: Path, title: str
) -> Path | None:
    """Draw episodes below each other: key frames of all cameras left, curves right.

    Returns:
        The PNG file; None where there is nothing to draw.
    """
    if not shown:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(13, 0.6 + 2.0 * len(shown)))
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(len(shown), 2, width_ratios=(1.75, 1.0), wspace=0.12, hspace=0.6)
        for row, item in enumerate(shown):
            _frames(figure.add_subplot(grid[row, 0]), item)
            _curves(figure.add_subplot(grid[row, 1]), item, rule, legend=row == 0)
        figure.suptitle(title, x=0.01, ha="left", y=1.0 - 0.1 / figure.get_figheight())
        figure.subplots_adjust(
            left=0.02,
            right=0.98,
            bottom=0.35 / figure.get_figheight(),
            top=1.0 - 0.65 / figure.get_figheight(),
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=90)
    return path


def strip(frames: Frames, numbers: Sequence[int]) -> Frames:
    """Chosen frames side by side, cameras below each other: (cameras * h, frames * w, 3)."""
    columns = [np.concatenate(list(frames[number]), axis=0) for number in numbers]
    return np.concatenate(columns, axis=1)


def _frames(axes: Axes, item: JudgedEpisode) -> None:
    video = item.episode.video
    numbers = key_frames(video)
    axes.imshow(strip(video.frames, numbers), interpolation="nearest")
    width = video.frames.shape[3]
    axes.set_xticks([(i + 0.5) * width for i in range(len(numbers))], [str(n) for n in numbers])
    axes.set_yticks([])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    happened = WHAT_HAPPENED.get(video.kind, video.kind)
    axes.set_title(f"“{item.episode.prompts[0]}”: {happened}", loc="left")


def _curves(axes: Axes, item: JudgedEpisode, rule: Calibration, *, legend: bool) -> None:
    frames = np.arange(len(item.progress))
    axes.fill_between(
        frames,
        0,
        1,
        where=item.episode.success,
        color=GREEN,
        alpha=0.15,
        step="mid",
        lw=0,
        label="task is done",
    )
    axes.plot(frames, item.episode.progress, color=GREY, ls="--", label="true progress")
    axes.plot(frames, item.progress, color=BLUE, label="progress")
    axes.plot(frames, item.probability, color=RED, marker=".", label="success probability")
    axes.axhline(rule.threshold, color=RED, lw=0.8, ls=":")
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(-0.5, len(frames) - 0.5)
    axes.set_xlabel("frame", labelpad=1)
    if legend:
        axes.legend(fontsize=7, loc="lower right", framealpha=0.8)
