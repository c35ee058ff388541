"""Robot PC and GPU PC on one machine: two network namespaces and a cable between them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

from tmrl_ros.core.environment import dds_profile

ROBOT, GPU = "tmrl_robot", "tmrl_gpu"
ON_GPU_PC = ("policy_server", "learner", "reward")


def why_not(change: str) -> str:
    """Why a change of the link between two PCs cannot be rehearsed here; "" when it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    if missing:
        return f"{missing[0]} is not installed (iproute2)"
    probe = f"{ROBOT}_probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.decode().strip()}"
    try:
        if change == "down":
            return ""
        words = ["ip", "netns", "exec", probe, "tc", "qdisc", "add", "dev", "lo", "root", "netem"]
        done = subprocess.run([*words, "loss", "1%"], capture_output=True, check=False)
        return (
            f"tc netem does not work here: {done.stderr.decode().strip()}"
            if done.returncode
            else ""
        )
    finally:
        subprocess.run(["ip", "netns", "del", probe], check=False)


class TwoPcs:
    """The two namespaces; leaving it removes them."""

    def __init__(self, folder: Path) -> None:
        """`folder` belongs to the session."""
        self._folder = folder

    @property
    def environment(self) -> dict[str, str]:
        """DDS as between two machines."""
        return {
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
            "FASTRTPS_DEFAULT_PROFILES_FILE": str(dds_profile(localhost_only=False)),
        }

    def __enter__(self) -> TwoPcs:
        self.__exit__()
        for name in (ROBOT, GPU):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip(
            "link",
            "add",
            "robot0",
            "netns",
            ROBOT,
            "type",
            "veth",
            "peer",
            "name",
            "gpu0",
            "netns",
            GPU,
        )
        for number, (name, device) in enumerate(((ROBOT, "robot0"), (GPU, "gpu0")), 1):
            _ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", device)
            _ip("-n", name, "link", "set", device, "up")
            _ip("-n", name, "route", "add", "224.0.0.0/4", "dev", device)
        return self

    def __exit__(self, *_: object) -> None:
        for name in (ROBOT, GPU):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", name)

    def prefix(self, node: str) -> list[str]:
        """What stands before the command of a node, so that it runs on its PC."""
        return ["ip", "netns", "exec", GPU if node in ON_GPU_PC else ROBOT]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
