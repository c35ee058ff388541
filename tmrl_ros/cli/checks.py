"""What is looked at before anything starts: policy and reward bundles, and the DDS domain.

Both need heavy libraries (torch, rclpy), so each runs in a short-lived process of its own, side by
side.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tmrl_ros.core.config import Config
from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.errors import BundleError, ConfigurationError, OperatorError
from tmrl_ros.core.hosts import LINK, ROBOT
from tmrl_ros.core.load import read_config
from tmrl_ros.core.methods import DEMONSTRATORS
from tmrl_ros.core.parent import end_with_parent
from tmrl_ros.core.security import check_security

EXIT_BAD_INPUT = 2
EXIT_IN_USE = 3
CHECK_TIMEOUT_S = 180.0  # reading torch takes a minute on a busy machine


def check_start(config: Config, config_file: Path, nodes: Sequence[str]) -> None:
    """Look whether a graph can start.

    Args:
        config: The resolved configuration.
        config_file: File that holds it.
        nodes: Names of the nodes that are about to start.

    Raises:
        BundleError: The policy bundle is missing, damaged or does not fit.
        ConfigurationError: Another graph uses the domain, or a check did not end.
    """
    check_security(config)
    environment = {**os.environ, **node_environment(config)}
    # Started one after the other, waited for together. The policy is looked at where it runs.
    check = [sys.executable, "-m", "tmrl_ros.cli.checks", str(config_file)]
    bundle = _start(check if config.session.host != ROBOT else ["true"], environment)
    probe = _probe(nodes, environment)
    try:
        said, failed = _finish(bundle, "the policy bundle")
        if failed:
            raise BundleError(said)
        said, failed = _finish(probe, "the DDS domain")
    finally:
        for process in (bundle, probe):
            process.kill()
            process.wait()
    domain = config.session.domain_id
    if failed == EXIT_IN_USE:
        raise ConfigurationError(
            f"session.domain_id={domain} is in use: node {said} runs there already; stop "
            f"that graph or set session.domain_id to another number."
        )
    if failed:
        raise ConfigurationError(f"ROS does not start in domain {domain}: {said}")


def graph_in_domain(nodes: Sequence[str], config: Config) -> tuple[str, int]:
    """Which of these nodes runs in the configuration's domain, and the probe's exit code.

    Raises:
        ConfigurationError: The probe did not end.
    """
    process = _probe(nodes, {**os.environ, **node_environment(config)})
    try:
        return _finish(process, "the DDS domain")
    finally:
        process.kill()
        process.wait()


def main() -> int:
    """Check the bundles of a resolved configuration; print a mistake and return 2."""
    from tmrl_ros.learning.contenders import config_of  # torch
    from tmrl_ros.policies.bundle import check_bundle
    from tmrl_ros.policies.source import check_policy
    from tmrl_ros.rewards.backends import check_backend

    config = read_config(Path(sys.argv[1]))
    try:
        if config.method.name not in DEMONSTRATORS:  # they need no policy
            check_policy(config)
        for contender in config.comparison.contenders:
            check_bundle(contender.bundle, config_of(config, contender))
        check_backend(config)
    except OperatorError as error:
        print(error)
        return EXIT_BAD_INPUT
    return 0


def _probe(nodes: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    names = [name for name in nodes if name != LINK]  # the other computer has one too
    return _start([sys.executable, "-m", "tmrl_ros.nodes.tool", "probe", *names], environment)


def _start(argv: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=partial(end_with_parent, os.getpid()),
    )


def _finish(process: subprocess.Popen[str], what: str) -> tuple[str, int]:
    """Last line a check printed, and its exit code."""
    try:
        output, _ = process.communicate(timeout=CHECK_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise ConfigurationError(
            f"The check of {what} did not end within {CHECK_TIMEOUT_S:g} s: is the machine "
            "overloaded?"
        ) from None
    lines = [line for line in output.splitlines() if line.strip()]
    return (lines[-1] if lines else f"exit code {process.returncode}"), process.returncode


if __name__ == "__main__":
    sys.exit(main())
