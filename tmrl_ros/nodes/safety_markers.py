"""RViz markers of the software stop.

RViz is a convenience: the stop works without it. Its markers fade when the supervisor is gone, so
that a dead or frozen supervisor never looks healthy.
"""

from __future__ import annotations

import textwrap

from geometry_msgs.msg import Point, Vector3
from geometry_msgs.msg import Pose as PoseMsg
from rclpy.duration import Duration
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from tmrl_ros.core.config import Config
from tmrl_ros.core.types import FloatArray, Target
from tmrl_ros.nodes.convert import header
from tmrl_ros.safety.status import GateState, GateStatus

LIFETIME_S = 1.0
SIGN_HEIGHT_M = 0.09
TEXT_HEIGHT_M = 0.035
WORDS_PER_LINE = 56
TARGET_DIAMETER_M = 0.015
COLORS = {
    GateState.LATCHED: (0.9, 0.1, 0.1),
    GateState.READY: (0.9, 0.7, 0.1),
    GateState.RUNNING: (0.1, 0.8, 0.2),
}


def safety_markers(config: Config, status: GateStatus, target: Target | None) -> MarkerArray:
    """Workspace box, a large sign and the cause in words above it, and the last target."""
    low, high = config.safety.workspace_min_m, config.safety.workspace_max_m
    center = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    size = [b - a for a, b in zip(low, high, strict=True)]
    frame = config.robot.base_frame
    box = _marker(frame, 0, Marker.CUBE, center, size, status.state, alpha=0.08)
    above = [center[0], center[1], high[2] + 3 * SIGN_HEIGHT_M]
    sign = _marker(frame, 1, Marker.TEXT_VIEW_FACING, above, [SIGN_HEIGHT_M] * 3, status.state)
    sign.text = " ".join(word for word in (status.state.name, status.code) if word)
    below = [center[0], center[1], high[2] + SIGN_HEIGHT_M]
    cause = _marker(frame, 3, Marker.TEXT_VIEW_FACING, below, [TEXT_HEIGHT_M] * 3, status.state)
    words = f"{status.message} ({status.value})" if status.value else status.message
    cause.text = textwrap.fill(words, WORDS_PER_LINE)
    cause.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    if not cause.text:
        cause.action = Marker.DELETE
    markers = [box, cause, sign]
    if target is not None:
        diameter = [TARGET_DIAMETER_M] * 3
        point = target.pose.position
        markers.append(_marker(frame, 2, Marker.SPHERE, point, diameter, status.state))
    return MarkerArray(markers=markers)


def _marker(
    frame: str,
    number: int,
    kind: int,
    position: list[float] | FloatArray,
    size: list[float],
    state: GateState,
    *,
    alpha: float = 1.0,
) -> Marker:
    x, y, z = (float(v) for v in position)
    width, depth, height = size
    red, green, blue = COLORS[state]
    marker = Marker(header=header(0, frame), ns="safety", id=number, type=kind)
    marker.action = Marker.ADD
    marker.pose = PoseMsg(position=Point(x=x, y=y, z=z))
    marker.scale = Vector3(x=width, y=depth, z=height)
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=alpha)
    marker.lifetime = Duration(seconds=LIFETIME_S).to_msg()
    return marker
