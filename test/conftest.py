"""Gives every test run a DDS domain of its own, before anything imports rclpy."""

import os
import random
import socket
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOMAINS = range(50, 101)


def _is_free(domain: int) -> bool:
    """Whether no participant of this machine listens where the domain's first one would."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", 7410 + 250 * domain))
        except OSError:
            return False
    return True


def _free_domain() -> int:
    domains = random.SystemRandom().sample(DOMAINS, len(DOMAINS))
    return next(domain for domain in domains if _is_free(domain))


os.environ.update(
    ROS_DOMAIN_ID=str(_free_domain()),
    ROS_AUTOMATIC_DISCOVERY_RANGE="SYSTEM_DEFAULT",
    RMW_IMPLEMENTATION="rmw_fastrtps_cpp",
    FASTRTPS_DEFAULT_PROFILES_FILE=str(ROOT / "config" / "dds" / "fastdds.xml"),
    OMP_NUM_THREADS="1",
    # Processes that tests start run the checkout's code too.
    PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def domain_id() -> int:
    """DDS domain of this test run."""
    return int(os.environ["ROS_DOMAIN_ID"])
