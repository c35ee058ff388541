"""A sheet of key frames: what the cameras saw from the first decision to the last."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw

from tmrl_ros.analysis.digest import Digest, KeyFrame

MOST_EPISODES = 30
CAPTION, MARGIN, GAP = 16, 190, 6
INK, QUIET = (27, 30, 35), (92, 99, 110)
MARKS = {"success": (43, 138, 62), "failure": (201, 42, 42), "timeout": (217, 115, 26)}


def shown_episodes(digest: Digest, most: int = MOST_EPISODES) -> list[int]:
    """Places of the episodes on the sheet: those a person labelled first, then evenly spread."""
    there = sorted({frame.order for frame in digest.key_frames})
    told = [k for k in there if digest.episodes[k].labelled_by not in ("", "reward")][:most]
    rest = [k for k in there if k not in told]
    left = most - len(told)
    if len(rest) > left:
        step = len(rest) / max(left, 1)
        rest = [rest[int(place * step)] for place in range(left)]
    return sorted([*told, *rest])


def draw_sheet(digest: Digest, path: Path) -> Path | None:
    """Write the sheet as PNG; None if no bag holds pictures."""
    chosen = set(shown_episodes(digest))
    rows = [
        (order, list(frames))
        for order, frames in groupby(digest.key_frames, key=lambda frame: frame.order)
        if order in chosen
    ]
    if not rows:
        return None
    width = max(sum(f.picture.shape[1] + GAP for f in frames) for _, frames in rows)
    heights = [max(f.picture.shape[0] for f in frames) + CAPTION + GAP for _, frames in rows]
    sheet = Image.new("RGB", (MARGIN + width, sum(heights)), "white")
    pen = ImageDraw.Draw(sheet)
    top = 0
    for (order, frames), height in zip(rows, heights, strict=True):
        _row(sheet, pen, top, digest, order, frames)
        top += height
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    return path


def _row(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    top: int,
    digest: Digest,
    order: int,
    frames: Sequence[KeyFrame],
) -> None:
    episode = digest.episodes[order]
    pen.text((4, top + CAPTION), episode.episode_id, fill=INK)
    pen.text((4, top + CAPTION + 16), episode.outcome, fill=MARKS.get(episode.outcome, QUIET))
    pen.text((4, top + CAPTION + 32), f"by {episode.labelled_by or 'nobody'}", fill=QUIET)
    left = MARGIN
    for frame in frames:
        sheet.paste(Image.fromarray(frame.picture), (left, top + CAPTION))
        told = "" if frame.progress is None else f", progress {frame.progress:.2f}"
        pen.text((left, top + 2), f"decision {frame.decision}{told}", fill=QUIET)
        left += frame.picture.shape[1] + GAP
