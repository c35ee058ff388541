"""How the faults of `rehearsal.catalogue` are brought about and undone on a running graph."""

from __future__ import annotations

import copy
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from builtin_interfaces.msg import Time
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter

from tmrl_msgs.msg import ActionChunk, RobotTarget
from tmrl_ros.core import topics
from tmrl_ros.nodes.common import RELIABLE
from tmrl_ros.nodes.mishaps import NAMES, PARAMETER
from tmrl_ros.rehearsal.cable import CABLE, change_cable
from tmrl_ros.rehearsal.catalogue import Fault

MODULE = "tmrl_ros.nodes."
HEALTHY = {"freeze_camera": "", "black_camera": "", "swap_cameras": False, "clock_jump_s": 0.0}
HEALTHY |= {"silent": False, "mode": "move"}
OVERSIZED_ROWS = 100_000
LATE_S = 2.0
ANSWER_S = 5.0
HUGE_M = 10.0
NO_SPACE_MB = 1e9

Wait = Callable[[Callable[[], bool], float], bool]


class Injector:
    """Breaks one thing at a time. Every method answers with a detail for the record.

    Args:
        node: Node to publish and to call services with.
        wait: Spins the node until a condition holds, at most so many seconds.
        config_file: Resolved configuration of the graph, which a restarted recorder reads again.
    """

    def __init__(self, node: Node, wait: Wait, config_file: Path) -> None:
        self._node, self._wait, self._file = node, wait, config_file
        self._chunks = node.create_publisher(ActionChunk, topics.ACTION_CHUNK, RELIABLE)
        self._frozen: list[psutil.Process] = []
        self._intruder: object | None = None
        self._repeated: Callable[[], None] | None = None
        self._free_mb = ""
        self.seen: list[ActionChunk] = []
        """The policy's latest chunks that asked for motion."""

    def inject(self, fault: Fault, number: int) -> str:
        """Bring a fault about; `number` picks a callback for `raise`."""
        if fault.kind in ("kill", "freeze"):
            process = find(fault.subject)
            process.send_signal(signal.SIGKILL if fault.kind == "kill" else signal.SIGSTOP)
            self._frozen = [process] if fault.kind == "freeze" else []
        elif fault.kind == "raise":
            return self._raise_in(fault.subject, number)
        elif fault.kind == "robot":
            self._set("sim_franka", f"fault.{fault.subject}", fault.value)
        elif fault.kind == "chunk":
            self._publish(fault.subject)
        elif fault.kind == "disk":
            self._no_space(NO_SPACE_MB)
        elif fault.kind == "network":
            change_cable(Path(os.environ[CABLE]), fault.subject)
        return ""

    def keep_on(self) -> None:
        """Say again what has to be said until it is heard between two chunks of the policy."""
        if self._repeated is not None:
            self._repeated()

    def undo(self, fault: Fault) -> None:
        """Put everything right again; a killed process is started again by the launcher."""
        self._repeated = None
        for process in self._frozen:
            if process.is_running():
                process.send_signal(signal.SIGCONT)
        self._frozen = []
        if self._intruder is not None:
            self._node.destroy_publisher(self._intruder)
            self._intruder = None
        if fault.kind == "robot":
            self._set("sim_franka", f"fault.{fault.subject}", HEALTHY[fault.subject])
        elif fault.kind == "disk":
            self._no_space(None)
        elif fault.kind == "network":
            change_cable(Path(os.environ[CABLE]), "")

    def _raise_in(self, node: str, number: int) -> str:
        """Let a node's callback of this number fail the next time; returns which of how many."""
        answer = self._call(
            GetParameters, f"{node}/get_parameters", GetParameters.Request(names=[NAMES])
        )
        names = answer.values[0].string_value.split() if answer is not None else []
        if not names:
            return "nobody answered"
        chosen = names[number % len(names)]
        self._set(node, PARAMETER, chosen)
        return f"{chosen} of {len(names)}"

    def _set(self, node: str, name: str, value: object) -> None:
        """Set a parameter of a node."""
        wanted = [Parameter(name, value=value).to_parameter_msg()]
        self._call(
            SetParameters, f"{node}/set_parameters", SetParameters.Request(parameters=wanted)
        )

    def _call(self, kind: Any, service: str, request: Any) -> Any:
        """Answer of a service, None when there is none in a few seconds."""
        client = self._node.create_client(kind, service)
        try:
            if not client.wait_for_service(ANSWER_S):
                return None
            future = client.call_async(request)
            return future.result() if self._wait(future.done, ANSWER_S) else None
        finally:
            self._node.destroy_client(client)

    def _publish(self, change: str) -> None:
        if change == "publisher":
            self._intruder = self._node.create_publisher(RobotTarget, topics.ROBOT_TARGET, RELIABLE)
            return
        if change in ("twice", "reordered"):
            of_episode = [c for c in self.seen if c.episode_id == self.seen[-1].episode_id]
            self._chunks.publish(of_episode[-1 if change == "twice" else 0])
            return
        self._repeated = lambda: self._chunks.publish(spoiled(self.seen[-1], change))
        self._repeated()

    def _no_space(self, free_mb: float | None) -> None:
        """Let the next recorder find too little space, or again what it found before."""
        lines = self._file.read_text().splitlines()
        for number, line in enumerate(lines):
            if "min_free_mb:" in line:
                self._free_mb = self._free_mb or line
                lines[number] = self._free_mb if free_mb is None else f"  min_free_mb: {free_mb}"
        self._file.write_text("\n".join(lines) + "\n")
        find("recorder").kill()


def find(node: str) -> psutil.Process:
    """The process of a node, a sibling of this one.

    Raises:
        LookupError: It does not run.
    """
    for process in psutil.Process(os.getppid()).children(recursive=True):
        try:
            if MODULE + node in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except psutil.Error:
            continue
    raise LookupError(f"{node} does not run.")


def spoiled(chunk: ActionChunk, change: str) -> ActionChunk:
    """A chunk with one thing wrong; a person's, so that it is judged whatever its number."""
    made = copy.deepcopy(chunk)
    made.source = ActionChunk.SOURCE_HUMAN
    actions = list(made.actions)
    if change in ("nan", "inf"):
        actions[0] = math.nan if change == "nan" else math.inf
    elif change == "huge":
        actions[0] = HUGE_M
    elif change == "oversized":
        made.horizon = made.execute_steps = OVERSIZED_ROWS
        actions = [0.0] * (OVERSIZED_ROWS * int(made.action_dim))
    elif change == "broken":
        made.horizon += 1
    shift_s = {"late": -LATE_S, "ahead": LATE_S}.get(change, 0.0)
    stamp = made.header.stamp
    total = stamp.sec * 10**9 + stamp.nanosec + round(shift_s * 1e9)
    made.header.stamp = Time(sec=max(0, total) // 10**9, nanosec=max(0, total) % 10**9)
    made.actions = actions
    return made
