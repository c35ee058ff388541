"""Stop pressed to hold commanded, while learner, inference and recorder run at full load.

The graph of a session with this program in the place of the episode manager. It first runs a few
episodes for which the learner then owes thousands of updates. After that it asks the policy for
one answer after the other, has pictures taken and recorded, keeps the arm moving with chunks of
its own, presses stop, measures until the hold arrives on `robot/target`, resets, and presses again.

    python benchmarks/stop_latency.py --presses 2000

The measured time has two crossings of DDS in it, those of the request and of the hold. Where that
is permitted, this program goes first on the machine, as the supervisor does, so that it does not
measure how long it waits for its own turn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import rclpy
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from tmrl_msgs.msg import (
    ActionChunk,
    ChunkOutcome,
    EpisodeEvent,
    LearnerStatus,
    Observation,
    RobotState,
    RobotTarget,
    SafetyState,
)
from tmrl_msgs.srv import Infer
from tmrl_ros.cli.processes import Processes
from tmrl_ros.cli.run import command
from tmrl_ros.core import topics
from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.graph import nodes_for
from tmrl_ros.core.load import load_config, write_config
from tmrl_ros.nodes.common import EVENTS, LATCHED, RELIABLE
from tmrl_ros.nodes.priority import go_first

RESULT = Path(__file__).parents[1] / "docs" / "benchmarks" / "stop_latency.json"
SETTINGS = (
    "task=lift",
    "robot.simulated_operator=false",
    "robot.state_timeout_s=10",
    "method.warmup_episodes=0",
    "method.updates_per_decision=100",
    "session.console=false",
    "task.max_decisions=60",
)
EPISODES = 4
EPISODE_S = 6.0
PATIENCE_S = 240.0
PICTURE_S = 0.2
SWING_M = 0.003
ROWS = 8


def main() -> None:
    """Start the graph, press, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presses", type=int, default=2000)
    parser.add_argument("--domain", type=int, default=38)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="stop-latency-"))
    words = [*SETTINGS, f"session.dir={folder}", f"session.domain_id={args.domain}"]
    config = load_config(words)
    write_config(config, folder / "config.yaml")
    environment = node_environment(config)
    os.environ.update(environment)
    every = nodes_for(config, folder / "config.yaml", "up")
    commands = [command(node) for node in every if node.name != "episode_manager"]
    with Processes(commands, environment, folder / "logs") as processes:
        processes.start()
        rclpy.init()
        bench = Bench(processes)
        print(f"This program runs with {go_first()}.", flush=True)
        try:
            bench.load_the_learner()
            bench.press_often(args.presses, args.out)
        finally:
            bench.executor.shutdown()
            rclpy.try_shutdown()


class Bench:
    """A person with both buttons, who also keeps everybody busy."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.node = node = rclpy.create_node("stop_latency")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(node)
        self.state: RobotState | None = None
        self.observation: Observation | None = None
        self.held_s, self.moves, self.answers = 0.0, 0, 0
        self.latched, self.swings, self.owed = True, False, 0
        self._index = self._sequence = self._decisions = 0
        listen, say = node.create_subscription, node.create_publisher
        listen(RobotTarget, topics.ROBOT_TARGET, self._on_target, RELIABLE)
        listen(RobotState, topics.ROBOT_STATE, self._on_state, RELIABLE)
        listen(SafetyState, topics.SAFETY_STATE, self._on_safety, LATCHED)
        listen(LearnerStatus, topics.LEARNER_STATUS, self._on_learner, EVENTS)
        listen(Observation, topics.OBSERVATION, self._on_observation, RELIABLE)
        listen(ChunkOutcome, topics.CHUNK_OUTCOME, self._on_outcome, RELIABLE)
        self._episodes = say(EpisodeEvent, topics.EPISODE, EVENTS)
        self._chunks = say(ActionChunk, topics.ACTION_CHUNK, RELIABLE)
        self._pictures = say(Header, topics.CAMERA_TRIGGER, RELIABLE)
        self.stop = node.create_client(Trigger, topics.STOP)
        self.reset = node.create_client(Trigger, topics.RESET)
        self._infer = node.create_client(Infer, topics.INFER)

    def until(self, condition: Callable[[], bool], seconds: float = PATIENCE_S) -> bool:
        """Spin until a condition holds; False when the graph has ended or the time is over."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline or self.processes.poll() is not None:
                return False
            self.executor.spin_once(timeout_sec=0.005)
        return True

    def press(self, button: Client) -> None:
        """Press and wait for the answer."""
        self.until(button.call_async(Trigger.Request()).done, 10.0)

    def load_the_learner(self) -> None:
        """Let the policy act in a few episodes, and tell the learner that they have ended."""
        assert self.until(self.stop.service_is_ready), "no supervisor"
        assert self.until(lambda: self.state is not None), "no robot"
        for topic in (topics.ACTION_CHUNK, topics.LEARNER_STATUS, topics.OBSERVATION):
            wanted = 2 if topic == topics.ACTION_CHUNK else 1  # the other one is ours
            found = lambda: self.node.count_publishers(topic) >= wanted  # noqa: B023, E731
            assert self.until(found), f"nobody on {topic}"
        self.until(lambda: False, 5.0)
        self.press(self.reset)
        for _ in range(EPISODES):
            self._index += 1
            self._decisions = 0
            for state in ("RESETTING", "READY", "RUNNING"):
                self._say(getattr(EpisodeEvent, f"STATE_{state}"))
            self.until(lambda: False, EPISODE_S)
            self._say(EpisodeEvent.STATE_ENDED, EpisodeEvent.OUTCOME_TIMEOUT)
        assert self.until(lambda: self.owed > 0, 60.0), "the learner has nothing to do"
        assert self.observation is not None
        self._index += 1
        self._say(EpisodeEvent.STATE_RESETTING)  # the recorder's bag stays open from here on
        self.node.create_timer(PICTURE_S, lambda: self._pictures.publish(self._header()))
        self._ask()

    def press_often(self, presses: int, out: Path) -> None:
        """Press, measure, reset; figures are written as they come."""
        rng = random.Random(0)
        waits_ms: list[float] = []
        busy: list[bool] = []
        self.swings = True
        while len(waits_ms) < presses:
            self.press(self.reset)
            assert self.until(lambda: not self.latched, 10.0), "no reset"
            before = self.moves
            self._swing()
            moved = self.until(lambda: self.moves > before + 1, 3.0)  # noqa: B023
            if not moved:
                continue
            self.until(lambda: False, rng.uniform(0.0, 0.1))
            pressed_s = time.monotonic()
            answer = self.stop.call_async(Trigger.Request())
            assert self.until(lambda: self.held_s > pressed_s, 30.0), "no hold"  # noqa: B023
            waits_ms.append(1000.0 * (self.held_s - pressed_s))
            busy.append(self.owed > 0)
            self.until(answer.done, 5.0)
            if len(waits_ms) % 50 == 0 or len(waits_ms) == presses:
                self._write(out, waits_ms, busy)

    def _write(self, out: Path, waits_ms: list[float], busy: list[bool]) -> None:
        report = {
            "presses": len(waits_ms),
            "p50_ms": round(float(np.percentile(waits_ms, 50)), 2),
            "p99_ms": round(float(np.percentile(waits_ms, 99)), 2),
            "max_ms": round(max(waits_ms), 2),
            "above_20_ms": sum(wait > 20.0 for wait in waits_ms),
            "share_with_learner_busy": round(float(np.mean(busy)), 3),
            "answers_of_the_policy": self.answers,
            "load_average": [round(value, 1) for value in psutil.getloadavg()],
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "beside": sorted(self.processes.pids()),
        }
        out.write_text(json.dumps(report, indent=2) + "\n")
        print(json.dumps(report), flush=True)

    def _header(self) -> Header:
        assert self.state is not None
        return Header(stamp=self.state.header.stamp, frame_id=self.state.header.frame_id)

    def _say(self, state: int, outcome: int = 0) -> None:
        event = EpisodeEvent(header=self._header(), state=state, outcome=outcome)
        event.episode_id, event.index = f"train_{self._index:06d}", self._index
        event.seed, event.task, event.method = self._index, "lift", "tmrl"
        event.decisions = self._decisions if outcome else 0
        event.prompt, event.learn, event.max_decisions = "lift the red cube", True, 60
        self._episodes.publish(event)
        self.until(lambda: False, 0.1)

    def _swing(self) -> None:
        """A few millimetres to one side and back."""
        assert self.state is not None
        self._sequence += 1
        rows = np.zeros((ROWS, 4))
        rows[:, 1] = SWING_M * np.sin(np.linspace(0.0, np.pi, ROWS))
        rows[:, 3] = 1.0
        chunk = ActionChunk(header=self._header(), source=ActionChunk.SOURCE_HUMAN)
        chunk.sequence, chunk.action_space = self._sequence, "cartesian_relative"
        chunk.reference_pose = self.state.ee_pose
        chunk.orientation = self.state.ee_pose.orientation
        chunk.horizon = chunk.execute_steps = ROWS
        chunk.action_dim, chunk.control_rate_hz = 4, 20.0
        chunk.actions = rows.ravel().tolist()
        self._chunks.publish(chunk)

    def _ask(self) -> None:
        """Ask the policy again as soon as it has answered."""
        asked = self._infer.call_async(Infer.Request(observation=self.observation))
        asked.add_done_callback(self._on_answer)

    def _on_answer(self, _: object) -> None:
        self.answers += 1
        self._ask()

    def _on_target(self, msg: RobotTarget) -> None:
        if msg.kind == RobotTarget.KIND_HOLD:
            self.held_s = time.monotonic()
        else:
            self.moves += 1

    def _on_state(self, msg: RobotState) -> None:
        self.state = msg

    def _on_safety(self, msg: SafetyState) -> None:
        self.latched = msg.state == SafetyState.STATE_LATCHED

    def _on_learner(self, msg: LearnerStatus) -> None:
        self.owed = int(msg.updates_owed)

    def _on_observation(self, msg: Observation) -> None:
        self.observation = msg

    def _on_outcome(self, msg: ChunkOutcome) -> None:
        if msg.source == ActionChunk.SOURCE_POLICY and msg.steps_sent:
            self._decisions = int(msg.decision) + 1
        if self.swings and msg.result == ChunkOutcome.RESULT_EXECUTED:
            self._swing()


if __name__ == "__main__":
    main()
