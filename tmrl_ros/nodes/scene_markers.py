"""Markers of what the policy wants and what the arm does, for RViz."""

from __future__ import annotations

import colorsys
import textwrap
from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point, Vector3
from rclpy.duration import Duration
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker

from tmrl_ros.core.types import FloatArray
from tmrl_ros.nodes.convert import header

LIFETIME_S = 1.5
WORDS_PER_LINE = 40
Color = tuple[float, float, float]
WHITE: Color = (1.0, 1.0, 1.0)
GREEN: Color = (0.12, 0.7, 0.35)
BLUE: Color = (0.2, 0.5, 0.85)
PRECISE_HUE, BROAD_HUE = 210 / 360, 30 / 360


def color_of(t_context: float) -> Color:
    """Colour of a context timestep: blue is precise (0), orange explores (1)."""
    t = min(1.0, max(0.0, t_context))
    return colorsys.hls_to_rgb(PRECISE_HUE + t * (BROAD_HUE - PRECISE_HUE), 0.55, 0.9)


class Scene:
    """Makes markers in one frame; a number and a namespace name each of them.

    Args:
        frame: The arm's base frame.
    """

    def __init__(self, frame: str) -> None:
        self._frame = frame

    def box(
        self, number: int, low: Sequence[float], high: Sequence[float], color: Color = WHITE
    ) -> Marker:
        """Edges of a box from `low` to `high` (3,), metres."""
        corners = np.array(
            [[low, high][i >> axis & 1][axis] for i in range(8) for axis in range(3)]
        )
        corners = corners.reshape(8, 3)
        edges = [(a, a | 1 << axis) for a in range(8) for axis in range(3) if not a >> axis & 1]
        marker = self._marker("workspace", number, Marker.LINE_LIST, color, alpha=0.6)
        marker.scale.x = 0.003
        marker.points = [point(corners[i]) for edge in edges for i in edge]
        return marker

    def path(
        self, namespace: str, number: int, rows: FloatArray, color: Color, width_m: float
    ) -> Marker:
        """A line through positions (N, 3), metres; an empty one removes what was there."""
        marker = self._marker(namespace, number, Marker.LINE_STRIP, color)
        if len(rows) < 2:
            marker.action = Marker.DELETE
            return marker
        marker.scale.x = width_m
        marker.points = [point(row) for row in rows]
        return marker

    def dots(self, namespace: str, number: int, rows: FloatArray, color: Color) -> Marker:
        """Small balls at positions (N, 3), metres."""
        marker = self._marker(namespace, number, Marker.SPHERE_LIST, color)
        if not len(rows):
            marker.action = Marker.DELETE
            return marker
        marker.scale = Vector3(x=0.012, y=0.012, z=0.012)
        marker.points = [point(row) for row in rows]
        return marker

    def text(
        self, namespace: str, number: int, at: Sequence[float], words: str, height_m: float,
        color: Color = WHITE,
    ) -> Marker:  # fmt: skip
        """Words that face the viewer."""
        marker = self._marker(namespace, number, Marker.TEXT_VIEW_FACING, color)
        marker.pose.position = point(at)
        marker.scale.z = height_m
        marker.text = textwrap.fill(words, WORDS_PER_LINE)
        return marker

    def gauge(
        self, number: int, at: Sequence[float], length_m: float, name: str, value: float,
        color: Color,
    ) -> list[Marker]:  # fmt: skip
        """A bar along x from `at` that is `value` (0 to 1) full, and its name and figure."""
        value = min(1.0, max(0.0, value))
        x, y, z = at
        back = self._marker("gauges", number, Marker.CUBE, (0.15, 0.17, 0.2))
        back.pose.position = point((x + length_m / 2, y, z))
        back.scale = Vector3(x=length_m, y=0.015, z=0.03)
        full = self._marker("gauges", number + 1, Marker.CUBE, color)
        full.pose.position = point((x + value * length_m / 2, y - 0.005, z))
        full.scale = Vector3(x=max(0.001, value * length_m), y=0.015, z=0.032)
        words = self.text(
            "gauges", number + 2, (x + length_m / 2, y, z + 0.035), f"{name} {value:.0%}", 0.03
        )
        return [back, full, words]

    def _marker(
        self, namespace: str, number: int, kind: int, color: Color, *, alpha: float = 1.0
    ) -> Marker:
        red, green, blue = color
        marker = Marker(header=header(0, self._frame), ns=namespace, id=number, type=kind)
        marker.action = Marker.ADD
        marker.pose.orientation.w = 1.0
        marker.color = ColorRGBA(r=red, g=green, b=blue, a=alpha)
        marker.lifetime = Duration(seconds=LIFETIME_S).to_msg()
        return marker


def point(position: Sequence[float] | FloatArray) -> Point:
    """Point message from three numbers."""
    x, y, z = (float(value) for value in position)
    return Point(x=x, y=y, z=z)
