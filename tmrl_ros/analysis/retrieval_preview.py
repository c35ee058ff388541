"""What retrieval has found, for people: paths over each other, and pictures beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

from tmrl_ros.core import topics
from tmrl_ros.core.types import FloatArray
from tmrl_ros.data import decode
from tmrl_ros.data.bag_stream import BagStream
from tmrl_ros.data.segments import Segment
from tmrl_ros.data.tool_path import ToolPath

Picture = NDArray[np.uint8]
SHOWN = 5
MOMENTS = 3
GRID = 8


def pictures_at(bag: Path, stamps_ns: Sequence[int]) -> list[Picture | None]:
    """What the first camera of the observations nearest to these stamps saw; None without any."""
    seen: list[tuple[int, object]] = []
    for message in BagStream(bag, [topics.OBSERVATION]):
        msg = message.decode()
        if msg.images:
            seen.append((decode.to_ns(msg.header.stamp), msg.images[0]))
    if not seen:
        return [None for _ in stamps_ns]
    known = np.array([stamp for stamp, _ in seen])
    places = [int(np.abs(known - stamp).argmin()) for stamp in stamps_ns]
    return [decode.image(seen[place][1]).astype(np.uint8) for place in places]


def moments(begin_ns: int, end_ns: int, count: int = MOMENTS) -> list[int]:
    """Stamps from the beginning to the end."""
    return [int(stamp) for stamp in np.linspace(begin_ns, end_ns, count)]


def by_appearance(
    segments: Sequence[Segment], demonstration: ToolPath, weight: float
) -> list[Segment]:
    """Segments ranked again: to the distance of the motion that of the pictures is added.

    Pictures at the beginning and the end are compared, as means over an 8 x 8 grid, 0..1.

    Args:
        segments: The candidates.
        demonstration: What they resemble.
        weight: Of the pictures' distance.
    """
    ends = [int(demonstration.stamps_ns[0]), int(demonstration.stamps_ns[-1])]
    wanted = pictures_at(demonstration.bag, ends)
    found = []
    for item in segments:
        seen = pictures_at(item.bag, [item.begin_ns, item.end_ns])
        apart = [
            float(np.abs(_grid(a) - _grid(b)).mean())
            for a, b in zip(wanted, seen, strict=True)
            if a is not None and b is not None
        ]
        far = float(np.mean(apart)) if apart else 1.0
        found.append(replace(item, distance=item.distance + weight * far))
    return sorted(found, key=lambda item: item.distance)


def _grid(picture: Picture) -> FloatArray:
    """Mean colours (8, 8, 3), 0..1."""
    rows = np.array_split(picture.astype(np.float64) / 255.0, GRID, axis=0)
    found: FloatArray = np.array(
        [[cell.mean((0, 1)) for cell in np.array_split(row, GRID, axis=1)] for row in rows]
    )
    return found


def draw_preview(
    out: Path, demonstration: ToolPath, paths: Mapping[Path, ToolPath], segments: Sequence[Segment]
) -> Path:
    """Write a PNG: paths from above and from the side, then pictures of the best ones.

    Args:
        out: File.
        demonstration: What was asked for, drawn in black.
        paths: Every searched path, by bag.
        segments: What was found, the best first.
    """
    shown = list(segments[:SHOWN])
    figure = plt.figure(figsize=(8, 3.5 + 1.5 * (len(shown) + 1)), layout="constrained")
    grid = figure.add_gridspec(2 + len(shown), 4, height_ratios=[2.3] + [1.0] * (len(shown) + 1))
    above, side = figure.add_subplot(grid[0, :2]), figure.add_subplot(grid[0, 2:])
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.9, max(len(segments), 1)))
    for item, colour in list(zip(segments, colours, strict=False))[::-1]:
        part = _part(paths[item.bag], item)
        _draw(above, side, part, colour, 1.2)
    _draw(above, side, demonstration.positions, "black", 2.5)
    above.set(xlabel="x from its beginning (m)", ylabel="y (m)", title="from above")
    side.set(xlabel="x from its beginning (m)", ylabel="z (m)", title="from the side")
    _row(figure, grid, 1, demonstration, "the demonstration", _span(demonstration))
    for place, item in enumerate(shown, 2):
        text = f"{place - 1}. {item.bag.name}\ndistance {item.distance:.3f}"
        _row(figure, grid, place, paths[item.bag], text, (item.begin_ns, item.end_ns))
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=90)
    plt.close(figure)
    return out


def _span(path: ToolPath) -> tuple[int, int]:
    return int(path.stamps_ns[0]), int(path.stamps_ns[-1])


def _part(path: ToolPath, item: Segment) -> FloatArray:
    inside = (path.stamps_ns >= item.begin_ns) & (path.stamps_ns <= item.end_ns)
    found: FloatArray = path.positions[inside]
    return found


def _draw(above: Axes, side: Axes, path: FloatArray, colour: object, width: float) -> None:
    moved = path - path[0]
    above.plot(moved[:, 0], moved[:, 1], color=colour, linewidth=width)
    side.plot(moved[:, 0], moved[:, 2], color=colour, linewidth=width)


def _row(
    figure: Figure,
    grid: GridSpec,
    row: int,
    path: ToolPath,
    text: str,
    span: tuple[int, int],
) -> None:
    label = figure.add_subplot(grid[row, 0])
    label.axis("off")
    label.text(0.0, 0.5, f"{text}\n{(span[1] - span[0]) / 1e9:.1f} s", va="center", fontsize=8)
    for place, picture in enumerate(pictures_at(path.bag, moments(*span)), 1):
        axes = figure.add_subplot(grid[row, place])
        axes.axis("off")
        if picture is not None:
            axes.imshow(picture)
