"""Helper of the command line: look for a graph, press its stop, recover its arm, label an episode.

Prints one sentence. Exit code 0: done; 1: refused or unreachable; 3 (`probe`): the domain is used.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from typing import Any

import rclpy
from rclpy.node import Node
from std_srvs.srv import Trigger

from tmrl_msgs.srv import LabelEpisode
from tmrl_ros.core import topics
from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import EpisodeOutcome
from tmrl_ros.nodes.operator import OperatorCalls

EXIT_IN_USE = 3
ANSWER_S = 5.0
AGAIN_S = 1.5
"""A request whose answer was lost, as may happen while DDS connects both ways, is repeated, if it
does no harm to ask twice."""
RECOVERY_S = 200.0
"""A step makes up to three calls, each of which has its own time-out in the driver."""
STEPS = ("errors", "hardware", "controllers", "gripper")
OUTCOMES = {outcome.name.lower(): outcome for outcome in EpisodeOutcome if outcome.value}


def main() -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tmrl_ros.nodes.tool")
    commands = parser.add_subparsers(dest="command", required=True)
    probe_parser = commands.add_parser("probe")
    probe_parser.add_argument("names", nargs="+")
    probe_parser.add_argument("--seconds", type=float, default=2.5)
    commands.add_parser("stop")
    commands.add_parser("reset")
    commands.add_parser("prompt").add_argument("text")
    commands.add_parser("ready")
    commands.add_parser("recover").add_argument("step", choices=STEPS)
    label = commands.add_parser("label")
    label.add_argument("outcome", choices=sorted(OUTCOMES))
    label.add_argument("--episode", default="")
    label.add_argument("--by", default="operator")
    args = parser.parse_args()
    rclpy.init(args=[])
    node = rclpy.create_node("tmrl_tool")
    try:
        if args.command == "probe":
            return probe(node, set(args.names), args.seconds)
        if args.command == "prompt":
            return tell(node, args.text)
        if args.command == "label":
            request = LabelEpisode.Request(
                episode_id=args.episode, outcome=int(OUTCOMES[args.outcome]), labelled_by=args.by
            )
            return ask(node, LabelEpisode, topics.LABEL_EPISODE, request, again_s=AGAIN_S)
        if args.command == "recover":
            homes = args.step == "gripper"
            service = topics.HOME_GRIPPER if homes else topics.recover(args.step)
            return ask(node, Trigger, service, Trigger.Request(), answer_s=RECOVERY_S)
        if args.command == "stop":
            return ask(node, Trigger, topics.STOP, Trigger.Request(), again_s=AGAIN_S)
        services = {"reset": topics.RESET, "ready": topics.SCENE_READY}
        return ask(node, Trigger, services[args.command], Trigger.Request())
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def probe(node: Node, names: set[str], seconds: float) -> int:
    """Print the first node of `names` that is already in this domain."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for name, namespace in node.get_node_names_and_namespaces():
            if name in names:
                print(f"{namespace.rstrip('/')}/{name}")
                return EXIT_IN_USE
        time.sleep(0.05)
    return 0


def tell(node: Node, text: str) -> int:
    """Tell the policy something else from the next episode on."""
    calls = OperatorCalls(node, load_config(), "operator")
    deadline = time.monotonic() + ANSWER_S
    while (asked := calls.prompt(text)).done() and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)  # until the manager is found
    while not asked.done() and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    if not asked.done():
        print(f"The episode manager did not answer within {ANSWER_S:g} s.")
        return 1
    answer = asked.result()
    print(answer.message)
    return 0 if answer.success else 1


def ask(
    node: Node,
    kind: Any,
    service: str,
    request: Any,
    *,
    answer_s: float = ANSWER_S,
    again_s: float = math.inf,
) -> int:
    """Call a service that answers `success` and `message`; every wait is bounded.

    Args:
        node: Who asks.
        kind: Type of the service.
        service: Its name.
        request: What is asked.
        answer_s: How long to wait for an answer.
        again_s: Ask again after that long without one.
    """
    client = node.create_client(kind, service)
    if not client.wait_for_service(timeout_sec=ANSWER_S):
        print(f"Nobody answers {service} after {ANSWER_S:g} s: no graph runs in this domain.")
        return 1
    deadline = time.monotonic() + answer_s
    future = client.call_async(request)
    while not future.done() and (left_s := deadline - time.monotonic()) > 0:
        rclpy.spin_until_future_complete(node, future, timeout_sec=min(again_s, left_s))
        if not future.done() and time.monotonic() < deadline:
            future = client.call_async(request)
    if not future.done():
        print(f"{service} did not answer within {answer_s:g} s.")
        return 1
    answer = future.result()
    print(answer.message or ("Done." if answer.success else "Refused."))
    return 0 if answer.success else 1


if __name__ == "__main__":
    sys.exit(main())
