"""The server's side of the interactive-marker protocol, as far as buttons need it.

RViz calls `<name>/get_interactive_markers` once, listens to `<name>/update` for changes, whose
numbers must grow by one, and publishes what the mouse does on `<name>/feedback`
(`interactive_marker_server.py` of ros-visualization/interactive_markers, branch rolling; there is
no wheel of that package). Its keep-alive messages are a thing of ROS 1.
"""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from visualization_msgs.msg import (
    InteractiveMarker,
    InteractiveMarkerFeedback,
    InteractiveMarkerUpdate,
)
from visualization_msgs.srv import GetInteractiveMarkers

UPDATES = QoSProfile(
    depth=100, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE
)
FEEDBACK = QoSProfile(
    depth=10, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE
)


class InteractiveMarkers:
    """Markers that RViz shows, and what is done to them.

    Args:
        node: Node they belong to.
        name: Prefix of the topics; RViz' display calls it the namespace.
        on_feedback: Called with every feedback about a marker that is there.
    """

    def __init__(
        self, node: Node, name: str, on_feedback: Callable[[InteractiveMarkerFeedback], None]
    ) -> None:
        self._id = node.get_fully_qualified_name()
        self._on_feedback = on_feedback
        self._markers: dict[str, InteractiveMarker] = {}
        self._number = 0
        self._updates = node.create_publisher(InteractiveMarkerUpdate, f"{name}/update", UPDATES)
        node.create_subscription(
            InteractiveMarkerFeedback, f"{name}/feedback", self._hear, FEEDBACK
        )
        node.create_service(GetInteractiveMarkers, f"{name}/get_interactive_markers", self._answer)

    def show(self, markers: list[InteractiveMarker]) -> None:
        """Add or replace markers; those that are as they were are not sent again."""
        changed = [marker for marker in markers if self._markers.get(marker.name) != marker]
        if not changed:
            return
        self._markers.update({marker.name: marker for marker in changed})
        self._number += 1
        self._updates.publish(
            InteractiveMarkerUpdate(
                server_id=self._id,
                seq_num=self._number,
                type=InteractiveMarkerUpdate.UPDATE,
                markers=changed,
            )
        )

    def _answer(
        self, _: GetInteractiveMarkers.Request, response: GetInteractiveMarkers.Response
    ) -> GetInteractiveMarkers.Response:
        response.sequence_number = self._number
        response.markers = list(self._markers.values())
        return response

    def _hear(self, msg: InteractiveMarkerFeedback) -> None:
        if msg.marker_name in self._markers:
            self._on_feedback(msg)
