"""Robot PC and GPU PC on one machine: two network namespaces and a cable between them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tmrl_ros.core.environment import dds_profile
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.hosts import GPU, ROBOT, runs_on
from tmrl_ros.rehearsal.cable import CABLE, TUN, change_cable

NAMESPACES = {ROBOT: "tmrl_robot", GPU: "tmrl_gpu"}
DEVICES = {ROBOT: "robot0", GPU: "gpu0"}
MTU = "9000"


def why_not() -> str:
    """Why two PCs cannot be had on this machine; "" when they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "ip is not installed (iproute2)"
    if not os.access(TUN, os.R_OK | os.W_OK):
        return f"{TUN} cannot be opened"
    probe = f"{NAMESPACES[ROBOT]}_probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.decode().strip()}"
    subprocess.run(["ip", "netns", "del", probe], check=False)
    return ""


class TwoPcs:
    """The two namespaces and the cable; leaving it removes them."""

    def __init__(self, folder: Path) -> None:
        """`folder` belongs to the session; the cable's file will lie in it."""
        self.cable = folder / "cable.txt"
        self._carrier: subprocess.Popen[str] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """DDS as between two machines, and where the cable is changed."""
        return {
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
            "FASTRTPS_DEFAULT_PROFILES_FILE": str(dds_profile(localhost_only=False)),
            CABLE: str(self.cable),
        }

    def __enter__(self) -> TwoPcs:
        self._remove()
        for namespace in NAMESPACES.values():
            _ip("netns", "add", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
        change_cable(self.cable, "")
        ends = [word for pc in (ROBOT, GPU) for word in (NAMESPACES[pc], DEVICES[pc])]
        self._carrier = subprocess.Popen(
            [sys.executable, "-m", "tmrl_ros.rehearsal.cable", *ends, str(self.cable)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._carrier.stdout is not None
        if self._carrier.stdout.readline().strip() != "ready":
            self.__exit__()
            raise ConfigurationError("The cable between the two namespaces did not start.")
        for number, pc in enumerate((ROBOT, GPU), 1):
            namespace, device = NAMESPACES[pc], DEVICES[pc]
            _ip("-n", namespace, "link", "set", device, "mtu", MTU)
            _ip("-n", namespace, "addr", "add", f"10.77.0.{number}/24", "dev", device)
            _ip("-n", namespace, "link", "set", device, "up")
            _ip("-n", namespace, "route", "add", "224.0.0.0/4", "dev", device)
        return self

    def __exit__(self, *_: object) -> None:
        if self._carrier is not None:
            self._carrier.terminate()
            self._carrier.communicate()
            self._carrier = None
        self._remove()

    def prefix(self, node: str) -> list[str]:
        """What stands before the command of a node, so that it runs on its PC."""
        return on_pc(GPU if runs_on(node, GPU) else ROBOT)

    @staticmethod
    def _remove() -> None:
        for namespace in NAMESPACES.values():
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", namespace)


def on_pc(pc: str) -> list[str]:
    """What stands before a command, so that it runs on that PC: `robot` or `gpu`."""
    return ["ip", "netns", "exec", NAMESPACES[pc]]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
