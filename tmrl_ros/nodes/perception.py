"""Make one `Observation` for every decision, from all cameras and the arm at one instant.

Observations are numbered 1000 * (index + 100000 * phase) + decision + 1, with index and phase of
the episode, as `perception/requests.py` says: the numbers need no memory, so a restarted process
goes on with them. They grow within an episode and never repeat within a session.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from functools import partial

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from tmrl_msgs.msg import ChunkOutcome, EpisodeEvent, Observation, RobotState
from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.data import decode
from tmrl_ros.nodes.common import EVENTS, IMAGES, RELIABLE, ConfiguredNode, run_node
from tmrl_ros.nodes.convert import header
from tmrl_ros.nodes.observation import observation_to_msg
from tmrl_ros.nodes.polling import PolledSubscription
from tmrl_ros.perception.perceiver import Perceiver
from tmrl_ros.perception.requests import Due, ObservationRequests
from tmrl_ros.perception.synchroniser import Missing, Synchroniser

CHECK_PERIOD_S = 0.1
REALTIME_CHECK_PERIOD_S = 0.02


class PerceptionNode(ConfiguredNode):
    """Shell around `ObservationRequests` (when), `Synchroniser` (from what), `Perceiver` (how)."""

    def __init__(self, *, config: Config | None = None) -> None:
        """Listen to the cameras, the arm and the episode."""
        super().__init__("perception", config=config)
        self._cameras = {camera.name: camera for camera in self.config.cameras.cameras}
        self._requests = ObservationRequests()
        self._frames = Synchroniser({n: camera.max_age_s for n, camera in self._cameras.items()})
        self._perceiver = Perceiver(self.config)
        self._started_ns = time.time_ns()
        self._observations = self.create_publisher(Observation, topics.OBSERVATION, RELIABLE)
        self._points = self.create_publisher(PointCloud2, topics.POINTS, RELIABLE)
        self._triggers = self.create_publisher(Header, topics.CAMERA_TRIGGER, RELIABLE)
        self._states = PolledSubscription(self, RobotState, topics.ROBOT_STATE, RELIABLE)
        self._infos = {
            name: PolledSubscription(self, CameraInfo, topics.camera_info(name), RELIABLE)
            for name in self._cameras
        }
        listen = self.create_subscription
        listen(EpisodeEvent, topics.EPISODE, self._on_episode, EVENTS)
        # With session.overlap_rows the next observation is due before the chunk has ended.
        for topic in (topics.CHUNK_PROGRESS, topics.CHUNK_OUTCOME):
            listen(ChunkOutcome, topic, self._on_outcome, RELIABLE)
        foreign = {"event_callbacks": SubscriptionEventCallbacks()}  # warns of other drivers' QoS
        for name in self._cameras:
            listen(Image, topics.color(name), partial(self._on_color, name), IMAGES, **foreign)
            listen(Image, topics.depth(name), partial(self._on_depth, name), IMAGES, **foreign)
        # On a real robot the state that fits a picture comes after it.
        realtime = self.config.robot.realtime
        self.create_timer(
            REALTIME_CHECK_PERIOD_S if realtime else CHECK_PERIOD_S,
            self._on_timer,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def _take_polled(self) -> None:
        """Read robot states and intrinsics, which come more often than they are needed."""
        for name, subscription in self._infos.items():
            for info in subscription.take():
                self._frames.add_intrinsics(name, np.array(info.k, np.float64).reshape(3, 3))
        for state in self._states.take():
            try:
                self._frames.add_state(decode.robot(state))
            except ValueError as error:
                self.get_logger().error(f"A robot state cannot be read: {error}.")

    def _on_episode(self, msg: EpisodeEvent, info: dict[str, int]) -> None:
        is_old = info["source_timestamp"] < self._started_ns
        self._take_polled()
        newest_ns, now_s = self._frames.newest_state_ns, time.monotonic()
        if self._requests.on_episode(decode.episode(msg), newest_ns, now_s, is_old=is_old):
            self._frames.drop_frames()
            self._perceiver.forget()
        self._trigger()

    def _on_outcome(self, msg: ChunkOutcome) -> None:
        self._requests.on_outcome(decode.outcome(msg), time.monotonic())
        self._trigger()
        self._try()

    def _on_color(self, camera: str, msg: Image) -> None:
        self._on_image(camera, msg, channels=3)

    def _on_depth(self, camera: str, msg: Image) -> None:
        self._on_image(camera, msg, channels=1)

    def _on_image(self, camera: str, msg: Image, *, channels: int) -> None:
        try:
            image = decode.image(msg)
        except ValueError as error:
            self.get_logger().error(f"Camera {camera!r}: {error}.")
            return
        if channels != (image.shape[2] if image.ndim == 3 else 1):
            what = "colour" if channels == 3 else "depth"
            self.get_logger().error(f"Camera {camera!r}: {msg.encoding} is no {what} image.")
            return
        add = self._frames.add_color if channels == 3 else self._frames.add_depth
        add(camera, decode.to_ns(msg.header.stamp), image)
        self._try()

    def _on_timer(self) -> None:
        if self._requests.due is None:
            return
        self._trigger()
        self._try()
        self._complain()

    def _trigger(self) -> None:
        """Ask for pictures when they are due; cameras that run freely need no asking."""
        if self._requests.take_trigger(time.monotonic()) and self._requests.due is not None:
            stamp_ns = self._requests.due.stamp_ns
            self._triggers.publish(header(stamp_ns, self.config.robot.base_frame))

    def _try(self) -> None:
        """Make the observation that is due, if everything for it is here."""
        due = self._requests.due
        if due is None:
            return
        self._take_polled()
        bundle = self._frames.bundle_at(due.stamp_ns)
        if isinstance(bundle, Missing):
            return
        started = time.perf_counter()
        try:
            percept = self._perceiver.perceive(bundle)
        except ValueError as error:
            self._refuse(due, f"The pictures cannot be used: {error}.")
            return
        names = self._perceiver.object_names
        never = [n for n, seen in zip(names, percept.sightings, strict=True) if seen.never]
        if never:
            self._refuse(due, f"No camera sees object {never[0]!r}: put it into view.")
            return
        msg = observation_to_msg(due, bundle, percept, names)
        msg.processing_ms = (time.perf_counter() - started) * 1e3
        self._observations.publish(msg)
        self._requests.made()
        if self._points.get_subscription_count():
            self._points.publish(msg.points)

    def _refuse(self, due: Due, why: str) -> None:
        """Wait for other pictures than the ones at hand."""
        due.refusal = why
        self._frames.drop_frames()

    def _complain(self) -> None:
        """After the time-out, say what keeps the observation from being made."""
        due = self._requests.due
        missing = None if due is None else self._frames.bundle_at(due.stamp_ns)
        if due is None or not isinstance(missing, Missing):
            return
        patience_s = self._patience_s(missing.cameras or self._cameras)
        if not self._requests.take_complaint(patience_s, time.monotonic()):
            return
        reasons = [due.refusal] if due.refusal else []
        if not reasons and missing.robot:
            reasons = [f"The robot is silent: {missing.robot}; check its driver."]
        if not reasons:
            reasons = [
                f"Camera {name!r} ({self.resolve_topic_name(topics.color(name))}): {lack}; "
                "check its cable and driver."
                for name, lack in missing.cameras.items()
            ]
        for reason in reasons:
            self.get_logger().error(
                f"{reason} No observation for {patience_s:g} s: the arm holds meanwhile."
            )

    def _patience_s(self, names: Iterable[str]) -> float:
        return min(self._cameras[name].timeout_s for name in names)


def main() -> int:
    """Run the node; return the exit code."""
    return run_node(PerceptionNode)


if __name__ == "__main__":
    sys.exit(main())
