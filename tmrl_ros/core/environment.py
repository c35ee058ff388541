"""Environment of the graph's processes: DDS domain, reach of discovery, transport, threads."""

from __future__ import annotations

from pathlib import Path

from tmrl_ros.core.config import Config
from tmrl_ros.core.load import config_folder
from tmrl_ros.core.security import security_environment


def node_environment(config: Config) -> dict[str, str]:
    """Variables every process of the graph must start with.

    Images do not fit Fast DDS's default shared-memory segment and would be lost without a word, so
    the transport is always named. Nothing listens beyond this machine's loopback interface unless
    `session.localhost_only` is off.
    """
    local = config.session.localhost_only
    threads = str(config.session.torch_threads)
    return {
        "ROS_DOMAIN_ID": str(config.session.domain_id),
        # LOCALHOST would add a second UDP transport, which listens on every interface.
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "SYSTEM_DEFAULT" if local else "SUBNET",
        "ROS_STATIC_PEERS": "",
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(dds_profile(localhost_only=local)),
        **security_environment(config),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "PYTHONUNBUFFERED": "1",
    }


def dds_profile(*, localhost_only: bool = True) -> Path:
    """Fast DDS profile with a shared-memory segment that holds images."""
    return config_folder() / "dds" / ("fastdds.xml" if localhost_only else "multihost.xml")
