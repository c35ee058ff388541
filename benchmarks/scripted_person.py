"""A person who collects demonstrations in the simulated cell, played by the scripted expert.

They do what somebody with a stick does, over DDS: take the arm when everything is ready, say where
to steer (`teleop/command`, 50 times a second), say how it ended, let go. They see the truth about
the objects, as a person beside a cell does, and nothing of the graph's inside.

    python benchmarks/scripted_person.py config_file:=sessions/<name>/config.yaml
"""

from __future__ import annotations

import sys
import time

import numpy as np
from rclpy.clock import Clock, ClockType

from tmrl_msgs.msg import EpisodeEvent, GroundTruth, RobotState, RobotTarget, TeleopCommand
from tmrl_msgs.srv import LabelEpisode
from tmrl_ros.core import topics
from tmrl_ros.core.types import Episode, EpisodeOutcome, EpisodeState, FloatArray
from tmrl_ros.core.types import TeleopCommand as Command
from tmrl_ros.data import decode
from tmrl_ros.nodes.common import EVENTS, NEWEST, RELIABLE, ConfiguredNode, run_node
from tmrl_ros.nodes.convert import teleop_to_msg
from tmrl_ros.sim import CellState
from tmrl_ros.sim import GroundTruth as Truth
from tmrl_ros.sim.experts import ActionNoise, ScriptedExpert, expert
from tmrl_ros.sim.tasks import task_named

PERIOD_S = 0.02
SEEN_S = 0.3
"""A person sees that it is done before they say so (the robot's clock)."""
PATIENCE_S = 30.0
"""What takes longer is thrown away (the robot's clock)."""
IDLE_S = 0.4
"""They look before they move (wall clock)."""


GRASP_M, FINGERS_M = 0.03, 0.004
"""An object so near the tool, and fingers so near its width: it is held."""


class ScriptedPerson(ConfiguredNode):
    """Steers by the expert from the moment at which an episode is READY."""

    def __init__(self) -> None:
        """Wait for an episode."""
        super().__init__("scripted_person")
        task = self.config.task
        self._scene = task_named(task.name, wanted=task.wanted_object)
        self._width_m = self.config.robot.gripper_max_width_m
        self._period_s = 1.0 / self.config.robot.control_rate_hz
        self._episode: Episode | None = None
        self._expert: ScriptedExpert | None = None
        self._state: CellState | None = None
        self._truth: Truth | None = None
        self._wanted: FloatArray = np.zeros(3)
        self._opening = 1.0
        self._speed: FloatArray = np.zeros(3)
        self._engaged = self._said = False
        self._began_ns = self._done_ns = self._stamp_ns = 0
        self._looks_until_s = 0.0
        self._commands = self.create_publisher(TeleopCommand, topics.TELEOP_COMMAND, NEWEST)
        self._label = self.create_client(LabelEpisode, topics.LABEL_EPISODE)
        self.create_subscription(EpisodeEvent, topics.EPISODE, self._on_episode, EVENTS)
        self.create_subscription(RobotState, topics.ROBOT_STATE, self._on_state, NEWEST)
        self.create_subscription(RobotTarget, topics.ROBOT_TARGET, self._on_target, RELIABLE)
        self.create_subscription(GroundTruth, topics.GROUND_TRUTH, self._on_truth, NEWEST)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(PERIOD_S, self._on_timer, clock=steady)

    def _on_episode(self, msg: EpisodeEvent) -> None:
        self._episode = decode.episode(msg)
        if self._episode.state is EpisodeState.READY:
            self._begin(self._episode.seed)
        elif self._episode.state is not EpisodeState.RUNNING:
            self._engaged = False

    def _begin(self, seed: int) -> None:
        settings = self.config.task.demonstration
        noise = ActionNoise(
            sigma_m=settings.noise_sigma_m,
            memory=settings.noise_memory,
            accumulate=True,
            detour_m=settings.detour_m,
            miss=settings.miss,
        )
        rng = np.random.default_rng(seed)
        self._expert = expert(self._scene, target_object=self._scene.wanted, rng=rng, noise=noise)
        self._engaged, self._said = True, False
        self._began_ns, self._done_ns = self._stamp_ns, 0
        self._speed, self._opening = np.zeros(3), 1.0
        self._looks_until_s = time.monotonic() + IDLE_S

    def _on_truth(self, msg: GroundTruth) -> None:
        positions = np.array(msg.object_positions, np.float64).reshape(-1, 3)
        objects = dict(zip(msg.object_names, positions, strict=True))
        self._truth = Truth(
            success=bool(msg.success),
            failure=bool(msg.failure),
            progress=float(msg.progress),
            object_positions=objects,
            held=self._held(objects),
        )

    def _held(self, objects: dict[str, FloatArray]) -> frozenset[str]:
        """What is between the fingers, as far as one can see."""
        state = self._state
        if state is None:
            return frozenset()
        return frozenset(
            item.name
            for item in self._scene.objects
            if np.linalg.norm(objects[item.name] - state.ee_position_m) < GRASP_M
            and abs(state.gripper_width_m - 2 * item.half_size_m) < FINGERS_M
        )

    def _on_state(self, msg: RobotState) -> None:
        sample = decode.robot(msg)
        self._stamp_ns = sample.stamp_ns
        self._state = CellState(
            stamp_s=sample.stamp_ns / 1e9,
            q=sample.q,
            dq=sample.dq,
            tau=sample.tau,
            ee_position_m=sample.ee_pose.position,
            ee_quaternion_xyzw=sample.ee_pose.quaternion,
            ee_twist=sample.ee_twist,
            external_wrench=sample.wrench,
            gripper_width_m=sample.gripper_width_m,
        )

    def _on_target(self, msg: RobotTarget) -> None:
        """A row went out: steer from there to where the expert wants the next one."""
        running = self._episode is not None and self._episode.state is EpisodeState.RUNNING
        ready = self._state is not None and self._truth is not None and self._expert is not None
        if not (running and ready and self._engaged) or msg.kind == RobotTarget.KIND_HOLD:
            return
        if time.monotonic() < self._looks_until_s:
            return
        assert self._expert is not None and self._state is not None and self._truth is not None
        self._wanted, _, width_m = self._expert.act(self._state, self._truth)
        self._opening = width_m / self._width_m
        self._speed = (self._wanted - decode.pose(msg.pose).position) / self._period_s

    def _on_timer(self) -> None:
        episode = self._episode
        if episode is None or not self._engaged:
            self._say(False)
            return
        self._say(True)
        if episode.state is EpisodeState.RUNNING and not self._said:
            self._judge()

    def _say(self, engaged: bool) -> None:
        speed = self._speed if engaged else np.zeros(3)
        fastest = self.config.teleop.max_speed_mps
        speed = speed * min(1.0, fastest / max(float(np.linalg.norm(speed)), 1e-9))
        frame = self.config.robot.base_frame
        command = Command("scripted", engaged, speed, self._opening if engaged else np.nan, frame)
        self._commands.publish(teleop_to_msg(command, time.time_ns()))

    def _judge(self) -> None:
        if self._truth is None:
            return
        succeeds = self._truth.success
        self._done_ns = (self._done_ns or self._stamp_ns) if succeeds else 0
        if self._done_ns and self._stamp_ns - self._done_ns > SEEN_S * 1e9:
            self._end(EpisodeOutcome.SUCCESS)
        elif self._stamp_ns - self._began_ns > PATIENCE_S * 1e9:
            self._end(EpisodeOutcome.ABORTED)

    def _end(self, outcome: EpisodeOutcome) -> None:
        self._said = True
        self._speed = np.zeros(3)
        request = LabelEpisode.Request(outcome=int(outcome), labelled_by="operator")
        self._label.call_async(request)


def main() -> int:
    """Run the person; `config_file:=...` is the session's."""
    words = [word for word in sys.argv[1:] if word.startswith("config_file:=")]
    return run_node(
        ScriptedPerson,
        [sys.argv[0], "--ros-args", *(part for word in words for part in ("-p", word))],
    )


if __name__ == "__main__":
    sys.exit(main())
