"""What one sampling of the policy costs: PyTorch step by step against ONNX Runtime's one graph.

Both in turns in one run, on one thread, same inputs. Writes `docs/benchmarks/policy_sampling.json`.

    .venv/bin/python benchmarks/policy_sampling.py --bundle bundles/pick_named
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tmrl_ros.core.compute import prepare_torch
from tmrl_ros.policies.onnx_backend import load_policy

OUT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "policy_sampling.json"


def milliseconds(call: Callable[[], object]) -> float:
    """Processor time of one call, which other processes do not lengthen as they do wall time."""
    started = time.thread_time()
    call()
    return (time.thread_time() - started) * 1e3


def compare(bundle: Path, batch: int, repetitions: int) -> dict[str, Any]:
    """Both ways of sampling `batch` chunks, in turns."""
    torch_policy, _ = load_policy(bundle, "torch")
    onnx_policy, how = load_policy(bundle, "onnxruntime")
    rng = np.random.default_rng(batch)
    size = torch_policy.spec.context.size
    contexts, eps = rng.standard_normal((2, batch, size)).astype(np.float32)
    z = rng.standard_normal((batch, torch_policy.z_size)).astype(np.float32)
    asked = contexts, z, rng.random(batch).astype(np.float32), eps
    difference = np.abs(torch_policy.sample(*asked) - onnx_policy.sample(*asked)).max()
    times: dict[str, list[float]] = {"torch": [], "onnxruntime": []}
    for _ in range(repetitions):
        times["torch"].append(milliseconds(lambda: torch_policy.sample(*asked)))
        times["onnxruntime"].append(milliseconds(lambda: onnx_policy.sample(*asked)))
    row: dict[str, Any] = {"chunks": batch, "largest_difference_m": float(difference), "by": how}
    for name, values in times.items():
        low, middle, high = np.percentile(values, [10, 50, 90]).round(2)
        row[name] = {"p10_ms": low, "p50_ms": middle, "p90_ms": high}
    row["ratio"] = round(row["torch"]["p50_ms"] / row["onnxruntime"]["p50_ms"], 2)
    return row


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("bundles/pick_named"))
    parser.add_argument("--chunks", type=int, nargs="+", default=[1, 16, 32, 64])
    parser.add_argument("--repetitions", type=int, default=200)
    args = parser.parse_args()
    prepare_torch(1)
    rows = [compare(args.bundle, batch, args.repetitions) for batch in args.chunks]
    result = {
        "bundle": args.bundle.name,
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "repetitions": args.repetitions,
        "rows": rows,
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    for row in rows:
        print(
            f"{row['chunks']:3d} chunks: torch {row['torch']['p50_ms']:.1f} ms, "
            f"{row['by']} {row['onnxruntime']['p50_ms']:.1f} ms, {row['ratio']:.1f}x"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
