"""The safety supervisor: the only node that publishes targets for the robot.

A thin shell around `safety.gate.Gate`. It is a software stop; the hardware stop button comes first.
"""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
from collections.abc import Callable

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from tmrl_msgs.msg import (
    ActionChunk,
    ChunkOutcome,
    EpisodeEvent,
    LearnerStatus,
    RewardEstimate,
    RobotState,
    RobotTarget,
    SafetyState,
    TeleopCommand,
)
from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.core.types import Chunk, ChunkSource, Outcome, Target
from tmrl_ros.data import decode
from tmrl_ros.nodes.common import EVENTS, LATCHED, NEWEST, RELIABLE, ConfiguredNode, run_node
from tmrl_ros.nodes.convert import header, outcome_to_msg, target_to_msg, to_time
from tmrl_ros.nodes.priority import go_first
from tmrl_ros.nodes.safety_markers import safety_markers
from tmrl_ros.safety.chunk_rules import ACTION_DIM
from tmrl_ros.safety.gate import Gate
from tmrl_ros.safety.heartbeats import Heartbeats, Part
from tmrl_ros.safety.line import Overlap
from tmrl_ros.safety.status import Effect, GateState, Underway

WATCHDOG_PERIOD_S = 0.05
STATUS_PERIOD_S = 0.2
PUBLISHER_COUNT_PERIOD_S = 0.5


class SafetySupervisor(ConfiguredNode):
    """Feeds messages, timers and services to the gate and carries out what it answers."""

    def __init__(self, *, config: Config | None = None) -> None:
        """Start latched."""
        super().__init__("safety_supervisor", config=config)
        robot = self.config.robot
        # In lockstep simulated time stands still while nobody sends targets.
        lockstep = robot.kind == "sim" and not robot.realtime
        overlap = Overlap(self.config.session.overlap_rows, waits=lockstep)
        self._gate = Gate(self.config.safety, robot, time.monotonic(), overlap)
        self._shown: tuple[int, str] | None = None
        self._latched_at = to_time(0)
        self._last_target: Target | None = None
        self._targets = self.create_publisher(RobotTarget, topics.ROBOT_TARGET, RELIABLE)
        self._outcomes = self.create_publisher(ChunkOutcome, topics.CHUNK_OUTCOME, RELIABLE)
        self._progress = self.create_publisher(ChunkOutcome, topics.CHUNK_PROGRESS, RELIABLE)
        self._states = self.create_publisher(SafetyState, topics.SAFETY_STATE, LATCHED)
        self._markers = self.create_publisher(MarkerArray, topics.SAFETY_MARKERS, LATCHED)
        for topic in (topics.ACTION_CHUNK, topics.RESET_CHUNK):
            self.create_subscription(ActionChunk, topic, self._on_chunk, RELIABLE)
        self._watch_the_graph()
        self.create_subscription(RobotState, topics.ROBOT_STATE, self._on_state, RELIABLE)
        self.create_subscription(TeleopCommand, topics.TELEOP_COMMAND, self._on_teleop, NEWEST)
        self.create_subscription(Bool, topics.HOLD_TO_RUN, self._on_hold_to_run, NEWEST)
        self.create_service(Trigger, topics.STOP, self._on_stop)
        self.create_service(Trigger, topics.RESET, self._on_reset)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        for period_s, callback in (
            (WATCHDOG_PERIOD_S, self._on_watchdog),
            (STATUS_PERIOD_S, self._publish_status),
            (PUBLISHER_COUNT_PERIOD_S, self._on_publisher_count),
        ):
            self.create_timer(period_s, callback, clock=steady)
        self._publish_status()
        self.get_logger().info(f"Runs with {go_first()}.")

    def _watch_the_graph(self) -> None:
        """Listen to those whose silence is to latch, if there are any."""
        safety = self.config.safety
        self._heartbeats = Heartbeats(
            {
                Part.POLICY: safety.policy_timeout_s,
                Part.REWARD: safety.reward_timeout_s,
                Part.LEARNER: safety.learner_timeout_s,
            }
        )
        if not self._heartbeats.watched:
            return
        self.create_subscription(EpisodeEvent, topics.EPISODE, self._on_episode, EVENTS)
        for part, kind, topic, qos in (
            (Part.POLICY, ActionChunk, topics.ACTION_CHUNK, RELIABLE),
            (Part.REWARD, RewardEstimate, topics.REWARD, RELIABLE),
            (Part.LEARNER, LearnerStatus, topics.LEARNER_STATUS, EVENTS),
        ):
            if part in self._heartbeats.watched:
                self.create_subscription(kind, topic, self._word_of(part), qos)

    def _word_of(self, part: Part) -> Callable[[object], None]:
        return lambda _: self._heartbeats.on_word(part, time.monotonic())

    def _on_episode(self, msg: EpisodeEvent) -> None:
        running = msg.state == EpisodeEvent.STATE_RUNNING
        self._heartbeats.on_episode(running, time.monotonic())

    def close(self) -> None:
        """Leave the arm holding where it is, and wait a moment for the word to get out."""
        self._carry_out(lambda: self._gate.on_shutdown(time.monotonic()))
        with contextlib.suppress(RuntimeError):  # the context may be gone already
            self._targets.wait_for_all_acked(Duration(seconds=0.5))

    def _on_state(self, msg: RobotState) -> None:
        now = time.monotonic()
        try:
            sample = decode.robot(msg)
        except ValueError as error:
            what = str(error)
            self._carry_out(lambda: self._gate.on_malformed_state(what, now))
            return
        self._carry_out(lambda: self._gate.on_state(sample, now))

    def _on_chunk(self, msg: ActionChunk) -> None:
        now = time.monotonic()
        try:
            chunk = decode.chunk(msg)
        except ValueError as error:
            what, readable = str(error), _readable_part(msg)
            self._carry_out(lambda: self._gate.on_malformed_chunk(readable, what, now))
            return
        self._carry_out(lambda: self._gate.on_chunk(chunk, now))

    def _on_teleop(self, msg: TeleopCommand) -> None:
        self._carry_out(lambda: self._gate.on_teleop(decode.teleop(msg), time.monotonic()))

    def _on_hold_to_run(self, msg: Bool) -> None:
        self._carry_out(lambda: self._gate.on_hold_to_run(bool(msg.data), time.monotonic()))

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._carry_out(lambda: self._gate.on_stop(time.monotonic()))
        response.success = True
        response.message = "Stopped. The arm holds until somebody resets."
        return response

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._on_publisher_count()
        response.success, response.message = self._gate.on_reset(time.monotonic())
        self.get_logger().info(response.message)
        self._publish_status()
        return response

    def _on_watchdog(self) -> None:
        now = time.monotonic()
        self._carry_out(lambda: self._gate.on_tick(now))
        overdue = self._heartbeats.overdue(now)
        if overdue is not None:
            self._carry_out(lambda: self._gate.on_overdue(overdue, now))

    def _on_publisher_count(self) -> None:
        count = self.count_publishers(topics.ROBOT_TARGET)
        self._carry_out(lambda: self._gate.on_target_publishers(count, time.monotonic()))

    def _carry_out(self, react: Callable[[], list[Effect]]) -> None:
        """Publish the gate's effects; a mistake in our own code stops the arm, not the process."""
        try:
            self._publish(react())
        except Exception as error:
            self.get_logger().error(traceback.format_exc())
            self._publish(self._gate.on_internal_error(repr(error), time.monotonic()))

    def _publish(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Target):
                self._targets.publish(target_to_msg(effect))
                self._last_target = effect
            elif isinstance(effect, Outcome):
                self._outcomes.publish(outcome_to_msg(effect, ACTION_DIM))
            elif isinstance(effect, Underway):
                self._progress.publish(outcome_to_msg(effect.done, ACTION_DIM))
            else:
                self._publish_status()

    def _publish_status(self) -> None:
        status = self._gate.status(time.monotonic())
        if status.state is GateState.LATCHED and self._shown != (status.latches, status.code):
            self._shown = (status.latches, status.code)
            self._latched_at = to_time(time.time_ns())
            self.get_logger().warning(f"{status.code}: {status.message}")
        self._states.publish(
            SafetyState(
                header=header(status.stamp_ns, self.config.robot.base_frame),
                state=int(status.state),
                code=status.code,
                message=status.message,
                value=status.value,
                latched_at=self._latched_at,
                present_causes=list(status.present_causes),
                targets_sent=status.targets_sent,
                targets_clipped=status.targets_clipped,
                chunks_executed=status.chunks_executed,
                chunks_rejected=status.chunks_rejected,
                latches=status.latches,
            )
        )
        self._markers.publish(safety_markers(self.config, status, self._last_target))


def _readable_part(msg: ActionChunk) -> Chunk:
    """What names a chunk whose rest cannot be read, so that it gets its outcome."""
    known = msg.source in list(ChunkSource)
    return Chunk(
        stamp_ns=decode.to_ns(msg.header.stamp),
        sequence=int(msg.sequence),
        episode_id=msg.episode_id,
        decision=int(msg.decision),
        source=ChunkSource(msg.source) if known else ChunkSource.POLICY,
        action_space=msg.action_space,
        reference_pose=decode.pose(msg.reference_pose),
        orientation=decode.quaternion(msg.orientation),
        actions=np.zeros((0, ACTION_DIM)),
        execute_steps=int(msg.execute_steps),
        control_rate_hz=float(msg.control_rate_hz),
    )


def main() -> int:
    """Run the node; return the exit code."""
    return run_node(SafetySupervisor)


if __name__ == "__main__":
    sys.exit(main())
