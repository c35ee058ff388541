"""The policy server with a policy that takes its time, as a large model or a far server does.

For benchmarks: `IDLE_LATENCY_S` says how long every decision takes at least (s).
"""

from __future__ import annotations

import os
import sys
import time

from tmrl_msgs.msg import Observation
from tmrl_ros.learning.acting import Decision
from tmrl_ros.nodes.common import run_node
from tmrl_ros.nodes.policy_server import PolicyServer

LATENCY = "IDLE_LATENCY_S"


class SlowPolicyServer(PolicyServer):
    """Answers no sooner than after a given time."""

    def _decide(self, msg: Observation) -> Decision:
        due_s = time.monotonic() + float(os.environ[LATENCY])
        decision = super()._decide(msg)
        time.sleep(max(0.0, due_s - time.monotonic()))
        return decision


if __name__ == "__main__":
    sys.exit(run_node(SlowPolicyServer))
