"""Somebody who sends chunks to a Franka's driver through the supervisor, and has every button."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from franka_processes import Processes
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from tmrl_msgs.msg import ActionChunk, ChunkOutcome, RobotState, SafetyState
from tmrl_msgs.srv import ResetScene
from tmrl_ros.core import topics
from tmrl_ros.core.load import load_config, write_config
from tmrl_ros.core.types import Chunk, ChunkSource, RobotSample
from tmrl_ros.data import decode
from tmrl_ros.nodes.common import LATCHED, RELIABLE
from tmrl_ros.nodes.convert import chunk_to_msg

PATIENCE_S = 40.0
DOWN = np.array([1.0, 0.0, 0.0, 0.0])


def make_config(folder: Path, *overrides: str) -> Any:
    """A Franka's cell, written into a folder."""
    config = load_config(
        [
            "robot=franka_fr3",
            "task=lift",
            "reward=learned",
            "safety=panda_table",
            "cameras=sim_two",
            # Whoever runs tests may do other things meanwhile.
            "safety.max_chunk_age_s=5",
            "robot.state_timeout_s=1.5",
            f"session.domain_id={os.environ['ROS_DOMAIN_ID']}",
            *overrides,
        ]
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_config(config, folder / "config.yaml")
    return config


class Bench:
    """Listens to the graph around driver and supervisor, and presses what there is to press."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.node = rclpy.create_node("bench")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.sample: RobotSample | None = None
        self.safety = SafetyState()
        self.outcomes: list[ChunkOutcome] = []
        self.sequence = 0
        self.chunks = self.node.create_publisher(ActionChunk, topics.ACTION_CHUNK, RELIABLE)
        listen = self.node.create_subscription
        listen(RobotState, topics.ROBOT_STATE, self._on_state, RELIABLE)
        listen(SafetyState, topics.SAFETY_STATE, self._on_safety, LATCHED)
        listen(ChunkOutcome, topics.CHUNK_OUTCOME, self.outcomes.append, RELIABLE)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()

    def _on_state(self, msg: RobotState) -> None:
        self.sample = decode.robot(msg)

    def _on_safety(self, msg: SafetyState) -> None:
        self.safety = msg

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert time.monotonic() < deadline, (
                f"waited in vain for {what}; {self.safety}; {self.sample}; "
                + self.processes.said("franka")
            )
            self.executor.spin_once(timeout_sec=0.05)
        return found

    def call(self, kind: Any, service: str, request: Any) -> Any:
        client = self.node.create_client(kind, service)
        try:
            self.until(client.service_is_ready, service)
            future = client.call_async(request)
            self.until(future.done, f"an answer of {service}")
            return future.result()
        finally:
            self.node.destroy_client(client)

    def press(self, service: str) -> Trigger.Response:
        return self.call(Trigger, service, Trigger.Request())

    def cell(self, word: str) -> dict[str, Any]:
        """Bring something about in the cell, or ask it for its report."""
        return json.loads(self.press(f"cell/{word}").message or "{}")

    def set_parameter(self, node: str, name: str, value: float) -> None:
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        answer = self.call(SetParameters, f"{node}/set_parameters", request)
        assert answer.results[0].successful

    def recover(self, step: str) -> Trigger.Response:
        return self.press(topics.recover(step))

    def reset_scene(self) -> ResetScene.Response:
        return self.call(ResetScene, topics.RESET_SCENE, ResetScene.Request(task="lift"))

    def make_ready(self) -> None:
        self.until(lambda: self.press(topics.RESET).success, "a reset that is accepted")
        self.until(lambda: self.safety.state == SafetyState.STATE_READY, "the gate to be ready")

    def until_latched(self, code: str) -> None:
        self.until(
            lambda: self.safety.state == SafetyState.STATE_LATCHED and self.safety.code == code,
            f"the latch {code}",
        )

    def until_present(self, *codes: str) -> None:
        self.until(lambda: list(self.safety.present_causes) == list(codes), f"{codes} alone")

    def move(self, rows: np.ndarray) -> ChunkOutcome:
        """Ask for rows of (dx, dy, dz, opening) from where the arm is; wait for the outcome."""
        self.sequence += 1
        self.outcomes.clear()
        sample = self.sample
        chunk = Chunk(
            stamp_ns=sample.stamp_ns,
            sequence=self.sequence,
            episode_id="train_000001",
            decision=self.sequence,
            source=ChunkSource.POLICY,
            action_space="cartesian_relative",
            reference_pose=sample.ee_pose,
            orientation=DOWN,
            actions=rows,
            execute_steps=len(rows),
            control_rate_hz=20.0,
            frame_id=sample.frame_id,
        )
        self.chunks.publish(chunk_to_msg(chunk))
        return self.until(lambda: self.outcomes and self.outcomes[-1], "an outcome")

    def intrude(self) -> Any:
        """Publish on the controller's topic, as a forgotten script does."""
        return self.node.create_publisher(PoseStamped, "/target_pose", 1)


def steps(count: int, *, dx: float = 0.0, opening: float = 1.0) -> np.ndarray:
    """Rows that go `dx` further with every one."""
    rows = np.zeros((count, 4))
    rows[:, 0], rows[:, 3] = dx * np.arange(1, count + 1), opening
    return rows
