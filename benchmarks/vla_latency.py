"""What a VLA's chunk and 16 steering candidates cost, against LeRobot's own calls.

Same classes, shapes, weights (random) and observations, in turns in one run. On a GPU with the
published sizes, on a CPU with tiny ones unless `--size full` says otherwise. Writes
`docs/benchmarks/vla_latency.json`, one entry per device, kind and size.

    .venv/bin/python benchmarks/vla_latency.py                       # what this machine can
    .venv/bin/python benchmarks/vla_latency.py --kinds pi0 --size full --compile cuda_graphs
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tmrl_ros.vla.interface import VlaRequest
from tmrl_ros.vla.lerobot_classes import KINDS, missing
from tmrl_ros.vla.load import ModelOptions
from tmrl_ros.vla.model import LerobotVla
from tmrl_ros.vla.random_models import Shapes, random_model

OUT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "vla_latency.json"
CANDIDATES = 16
PICTURE = (480, 640, 3)
Calls = dict[str, Callable[[], object]]


def milliseconds(call: Callable[[], object], device: torch.device) -> float:
    """Wall time on a GPU; on a CPU processor time of the one thread, which is not shared."""
    clock = time.perf_counter if device.type == "cuda" else time.thread_time
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = clock()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (clock() - started) * 1e3


def calls(model: LerobotVla, seed: int) -> Calls:
    """What is compared, by name; each takes pictures, state and words and gives chunks."""
    rng = np.random.default_rng(seed)
    spec, policy = model.spec, model.sampler.backbone.policy
    images = {name: rng.integers(0, 255, PICTURE, dtype=np.uint8) for name in spec.cameras}
    state = rng.normal(size=spec.state_dim).astype(np.float32)

    def ours(samples: int, t: np.ndarray) -> Callable[[], object]:
        noise = rng.normal(size=(samples, spec.horizon, spec.action_dim)).astype(np.float32)
        request = VlaRequest(
            images, state, "lift the cube", noise, t.astype(np.float32), 0, None, samples
        )
        return lambda: model.infer(request)

    def theirs(rows: int) -> Callable[[], object]:
        def call() -> object:
            one = model.batch([images], state[None], ["lift the cube"])
            return policy.predict_action_chunk(
                {key: value.repeat_interleave(rows, 0) for key, value in one.items()}
            )

        return call

    def select() -> object:
        policy.reset()  # an empty queue: the next action needs a chunk
        return policy.select_action(model.batch([images], state[None], ["lift the cube"]))

    n = CANDIDATES
    return {
        "one chunk": ours(1, np.zeros(1)),
        "one chunk, t 0.5": ours(1, np.full(1, 0.5)),
        "16 candidates, t 0": ours(n, np.zeros(n)),
        "16 candidates, t 0.5": ours(n, np.full(n, 0.5)),
        "16 candidates, 4 values of t": ours(n, np.arange(n) % 4 / 4),
        "16 candidates, 16 values of t": ours(n, np.arange(n) / n),
        "LeRobot select_action": select,
        "LeRobot predict_action_chunk": theirs(1),
        "LeRobot predict_action_chunk, batch of 16": theirs(n),
    }


def measure(kind: str, args: argparse.Namespace, device: torch.device, size: str) -> dict[str, Any]:
    """One kind of policy on this machine."""
    shapes = Shapes(("front", "wrist"), 8, 7, 50 if size == "full" else 8)
    options = ModelOptions(compile=args.compile)
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(kind, size, Path(folder), shapes, str(device), options)  # type: ignore[arg-type]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    model.warm_up()
    every = {
        name: call
        for name, call in calls(model, args.seed).items()
        if not args.only or any(part in name for part in args.only)
    }
    times: dict[str, list[float]] = {name: [] for name in every}
    memory: dict[str, float] = {}
    for _ in range(args.warm_up):
        for call in every.values():
            call()
    for _ in range(args.repetitions):
        for name, call in every.items():
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            times[name].append(milliseconds(call, device))
            if device.type == "cuda":
                memory[name] = round(torch.cuda.max_memory_allocated(device) / 2**30, 3)
    rows = {}
    for name, values in times.items():
        low, middle, high = np.percentile(values, [10, 50, 90]).round(3)
        rows[name] = {"p10_ms": low, "p50_ms": middle, "p90_ms": high}
        if name in memory:
            rows[name]["peak_gib"] = memory[name]
    one = rows["one chunk"]["p50_ms"]
    return {
        "kind": kind,
        "size": size,
        "parameters": sum(p.numel() for p in model.sampler.backbone.policy.parameters()),
        "precision": "bfloat16" if device.type == "cuda" else "float32",
        "compile": args.compile,
        "horizon": shapes.horizon,
        "cameras": len(shapes.cameras),
        "flow_steps": model.sampler.backbone.steps,
        "repetitions": args.repetitions,
        "seed": args.seed,
        "rows": rows,
        "16 candidates over one chunk": {
            name: round(item["p50_ms"] / one, 2)
            for name, item in rows.items()
            if name.startswith("16")
        },
        "peak_process_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--size", choices=("tiny", "full"), help="full on a GPU, else tiny")
    parser.add_argument("--only", nargs="+", default=[], help="rows with one of these words")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", default="off", choices=("off", "default", "cuda_graphs"))
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if reason := missing():
        print(reason, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    device = torch.device(args.device)
    size = args.size or ("full" if device.type == "cuda" else "tiny")
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    name = gpu or f"CPU ({platform.processor() or platform.machine()}), one thread"
    found = json.loads(OUT.read_text()) if OUT.is_file() else {}
    for kind in args.kinds:
        result = measure(kind, args, device, size)
        found[f"{name}: {kind}, {size}, compile {args.compile}"] = {
            "torch": torch.__version__,
            **result,
        }
        OUT.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{kind} ({size}) on {name}")
        for row, item in result["rows"].items():
            print(f"  {row:42s} {item['p50_ms']:9.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
