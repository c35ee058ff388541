"""What `tmrl vla-server` adds to a model: the round trip over localhost less the model's own time.

The server is a process of its own with a model that looks at two images of 224 x 224 and answers
chunks of 50 x 32 (pi0's sizes) at once. Between requests a WebSocket ping is sent, which is what
the machine itself takes to wake two processes. Writes
`docs/benchmarks/policy_server_overhead.json`.

    .venv/bin/python benchmarks/policy_server_overhead.py
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tmrl_ros.serving.client import VlaClient
from tmrl_ros.serving.server import Settings, VlaServer
from tmrl_ros.vla.interface import VlaAnswer, VlaRequest, VlaSpec

OUT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "policy_server_overhead.json"
HORIZON, WIDTH, STATE, PREFIX = 50, 32, 32, 2048
CAMERAS = ("base_0_rgb", "left_wrist_0_rgb")
WARM_UP = 50


class Instant:
    """Touches every pixel and answers; how long that takes is in its answer."""

    spec = VlaSpec(
        name="instant",
        action_dim=WIDTH,
        horizon=HORIZON,
        state_dim=STATE,
        cameras=CAMERAS,
        capabilities=("action_noise", "low_rank_noise", "batch"),
        model_sha256="0" * 64,
        normalisation_sha256="0" * 64,
        action_space="cartesian_relative",
        control_rate_hz=20.0,
    )

    def infer(self, request: VlaRequest) -> VlaAnswer:
        started = time.perf_counter()
        seen = sum(float(image.mean()) for image in request.images.values())
        actions = np.full((request.samples, HORIZON, WIDTH), seen, np.float32)
        prefix = np.zeros(PREFIX, np.float32)
        return VlaAnswer(actions, prefix, {"model_ms": (time.perf_counter() - started) * 1e3})

    def warm_up(self) -> None:
        pass


def serve() -> None:
    """The server's process."""
    server = VlaServer(Instant, Settings(port=0))
    asyncio.run(server.run(lambda port: print(port, flush=True)))


Values = dict[str, list[float]]


def measure(client: VlaClient, server: psutil.Process, samples: int, count: int) -> Values:
    """What `count` requests took beyond the model, pings between them, processor time: ms."""
    rng = np.random.default_rng(samples)
    images = {name: rng.integers(0, 256, (224, 224, 3), np.uint8) for name in CAMERAS}
    noise = rng.standard_normal((samples, 1, WIDTH)).astype(np.float32)
    request = VlaRequest(
        images, np.zeros(STATE, np.float32), "put the cup on the plate", noise, samples=samples
    )
    overhead, pings, processor = [], [], []
    for number in range(WARM_UP + count):
        used = time.process_time() + sum(server.cpu_times()[:2])
        started = time.perf_counter()
        answer = client.infer(request).answer
        elapsed_ms = (time.perf_counter() - started) * 1e3
        used = time.process_time() + sum(server.cpu_times()[:2]) - used
        started = time.perf_counter()
        assert client._connection is not None
        client._connection.ping().wait(10)
        if number >= WARM_UP:
            overhead.append(elapsed_ms - answer.timings_ms["model_ms"])
            pings.append((time.perf_counter() - started) * 1e3)
            processor.append(used * 1e3 - answer.timings_ms["model_ms"])
    return {"overhead_ms": overhead, "ping_ms": pings, "processor_ms": processor}


def summary(rounds: list[Values]) -> dict[str, Any]:
    """All rounds together, and the calmest of them."""
    calmest = min(rounds, key=lambda item: np.percentile(item["ping_ms"], 99))
    together = {name: [v for item in rounds for v in item[name]] for name in calmest}
    found = {}
    for name, values in (("all rounds", together), ("calmest round", calmest)):
        found[name] = {
            "requests": len(values["overhead_ms"]),
            "overhead_ms": percentiles(values["overhead_ms"]),
            "ping_ms": percentiles(values["ping_ms"]),
            # The kernel counts a process' time in steps of 10 ms: only the mean means something.
            "processor_mean_ms": round(float(np.mean(values["processor_ms"])), 2),
        }
    return found


def percentiles(values: list[float]) -> dict[str, float]:
    """Median, 90th and 99th percentile, and largest."""
    found = [*np.percentile(values, [50, 90, 99]), max(values)]
    return dict(zip(("p50", "p90", "p99", "max"), np.round(found, 2).tolist(), strict=True))


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300, help="of a round")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--pause-s", type=float, default=5.0, help="between rounds")
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve()
        return 0
    argv = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            client = VlaClient(f"ws://127.0.0.1:{process.stdout.readline().strip()}", timeout_s=60)
            client.connect(60)
            watched = psutil.Process(process.pid)
            rounds: dict[int, list[Values]] = {samples: [] for samples in args.samples}
            loads = []
            for _ in range(args.rounds):
                for samples, found in rounds.items():
                    found.append(measure(client, watched, samples, args.requests))
                loads.append(round(os.getloadavg()[0], 1))
                time.sleep(args.pause_s)
            client.close()
        finally:
            process.terminate()
    result = {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_average": loads,
        "images": "2 x 224 x 224 x 3 uint8",
        "samples": {str(samples): summary(found) for samples, found in rounds.items()},
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    for samples, row in result["samples"].items():
        for name, values in row.items():
            over, ping = values["overhead_ms"], values["ping_ms"]
            print(
                f"{samples} samples, {name}: {over['p50']:.2f} ms (p99 {over['p99']:.2f}) more than"
                f" the model; a ping {ping['p50']:.2f} ms (p99 {ping['p99']:.2f}); processor "
                f"{values['processor_mean_ms']:.2f} ms"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
