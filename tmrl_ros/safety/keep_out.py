"""Boxes that the tool must not enter: a camera's foot, a fixture, a colleague's bench."""

from __future__ import annotations

from tmrl_ros.safety.causes import Cause, Code, cause
from tmrl_ros.safety.geometry import Vec3
from tmrl_ros.safety.limits import Forbidden, Limits


def way_cause(start: Vec3, end: Vec3, what: str, limits: Limits) -> Cause | None:
    """What is wrong with moving the tool straight from `start` to `end`.

    Boxes are grown by `limits.keep_out_margin_m` on all sides. Who stands in that margin already
    may move in it, for instance out of it, but never into the box itself.

    Args:
        start: Where the tool is (m, base frame).
        end: Where it is to go.
        what: Who asks for it, the subject of a sentence.
        limits: With the boxes.
    """
    for box in limits.keep_out:
        is_near = _is_inside(start, box, limits.keep_out_margin_m)
        if _crosses(start, end, box, 0.0 if is_near else limits.keep_out_margin_m):
            return cause(Code.KEEP_OUT, f"{what} leads into the keep-out box {box.name}.", box.name)
    return None


def inside_cause(position: Vec3, limits: Limits) -> Cause | None:
    """Whether the tool itself is in a box."""
    for box in limits.keep_out:
        if _is_inside(position, box, 0.0):
            return cause(
                Code.IN_KEEP_OUT, f"The tool is inside the keep-out box {box.name}.", box.name
            )
    return None


def _is_inside(point: Vec3, box: Forbidden, margin_m: float) -> bool:
    sides = zip(point, box.low_m, box.high_m, strict=True)
    return all(low - margin_m < value < high + margin_m for value, low, high in sides)


def _crosses(start: Vec3, end: Vec3, box: Forbidden, margin_m: float) -> bool:
    """Whether the straight way has a point inside the grown box (slab method)."""
    first, last = 0.0, 1.0
    for a, b, low, high in zip(start, end, box.low_m, box.high_m, strict=True):
        low, high = low - margin_m, high + margin_m
        if a == b:
            if not low < a < high:
                return False
            continue
        enter, leave = (low - a) / (b - a), (high - a) / (b - a)
        if enter > leave:
            enter, leave = leave, enter
        first, last = max(first, enter), min(last, leave)
        if not first < last:
            return False
    return True
