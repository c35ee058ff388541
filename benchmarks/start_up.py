"""How long a node takes to be imported, what it weighs, and whether it loads torch.

Every node in a fresh interpreter, several times. Writes `docs/benchmarks/start_up.json`.

    .venv/bin/python benchmarks/start_up.py
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tmrl_ros.core.graph import nodes_for
from tmrl_ros.core.load import load_config

OUT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "start_up.json"
PROBE = """
import json, resource, sys, time
started = time.process_time()
import {module}
taken = time.process_time() - started
heavy = [name for name in ("torch", "mujoco", "matplotlib", "onnxruntime") if name in sys.modules]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
print(json.dumps([taken, peak, heavy]))
"""


def measure(module: str, repetitions: int) -> dict[str, Any]:
    """Processor time and memory of importing a module."""
    found = []
    for _ in range(repetitions):
        command = [sys.executable, "-c", PROBE.format(module=module)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout))
    seconds = [item[0] for item in found]
    return {
        "seconds": {
            "p50": round(float(np.median(seconds)), 2),
            "min": round(min(seconds), 2),
            "max": round(max(seconds), 2),
        },
        "megabytes": round(float(np.median([item[1] for item in found]))),
        "loads": found[0][2],
    }


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    repetitions = parser.parse_args().repetitions
    nodes = nodes_for(load_config(["session.rviz=true"]), Path("config.yaml"))
    result = {}
    for node in nodes:
        row = result[node.name] = measure(node.module, repetitions)
        heavy = ", ".join(row["loads"]) or "nothing heavy"
        print(f"{node.name:20} {row['seconds']['p50']:.2f} s, {row['megabytes']} MB, {heavy}")
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
