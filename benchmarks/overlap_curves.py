"""Does a policy learn as well when its chunks are made while others run? And the figure of both.

The job without ROS (`rig.py`), on the same start states: without overlap the arm holds for as long
as a chunk takes to be made; with overlap it goes on. Writes `docs/benchmarks/overlap_curves.json`
and, with what `idle_share.py` has written, `docs/benchmarks/overlap.png`.

    python benchmarks/overlap_curves.py --bundle sessions/lift16 --overlaps 0 8 --episodes 100
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

OUT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks"
IDLE, CURVES = OUT / "idle_share.json", OUT / "overlap_curves.json"
WINDOW = 20


def trial(args: argparse.Namespace, overlap: int, seed: int) -> dict[str, Any]:
    """Train once and evaluate before and after, on the same start states."""
    import torch
    from rig import Rig, Trial

    from tmrl_ros.core.load import load_config
    from tmrl_ros.policies.bundle import load_bundle
    from tmrl_ros.policies.policy import ChunkPolicy

    torch.set_num_threads(1)
    config = load_config(
        [
            *("task=lift", f"session.seed={seed}", f"task.bundle={args.bundle}"),
            *(f"session.overlap_rows={overlap}", *args.overrides),
        ]
    )
    rig = Rig(config, latency_rows=args.latency_rows)
    run = Trial(rig, ChunkPolicy(*load_bundle(config.task.bundle)))
    started = time.monotonic()
    before = run.evaluate(args.evaluations, "base")
    minutes: list[float] = []
    for point in run.train(args.episodes, 1, 0):
        minutes.append(round(point.robot_minutes, 3))
        if point.episodes % WINDOW == 0:
            rate = np.mean(run.outcomes[-WINDOW:])
            print(f"overlap {overlap}: {point.episodes} episodes, {rate:.0%}", flush=True)
    run.install()
    return {
        "overlap_rows": overlap,
        "seed": seed,
        "before": before,
        "after": run.evaluate(args.evaluations),
        "evaluations": args.evaluations,
        "success": [int(item) for item in run.outcomes],
        "robot_minutes": minutes,
        "wall_minutes": round((time.monotonic() - started) / 60, 1),
    }


def plot(idle: dict[str, Any], curves: list[dict[str, Any]], path: Path) -> None:
    """Idle share and success of the sessions over the graph; success in training in process."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    phases = ("evaluate_before", "train", "evaluate_after")
    for place, session in enumerate(idle["sessions"]):
        name = f"overlap {session['overlap_rows']} rows"
        at = np.arange(len(phases)) + 0.4 * place - 0.2
        share = [100 * session[phase]["idle_share"] for phase in phases]
        bars = left.bar(at, share, 0.36, label=name)
        left.bar_label(bars, [f"{value:.1f} %" for value in share], fontsize=8)
    left.set_xticks(range(len(phases)), ["before", "training", "after"])
    left.set(ylabel="idle share, %", title=f"over the graph, {idle['latency_ms']:.0f} ms")
    left.legend(fontsize=8)
    for row in curves:
        success = np.array(row["success"], float)
        rolling = [success[max(0, i - WINDOW + 1) : i + 1].mean() for i in range(len(success))]
        (line,) = right.plot(rolling, label=f"overlap {row['overlap_rows']} rows")
        right.plot(0, row["before"], "x", color=line.get_color())
        right.plot(len(success), row["after"], "o", color=line.get_color())
    right.set(xlabel="training episodes", ylim=(-0.02, 1.02), title="in process")
    right.set_ylabel(f"success, last {WINDOW} episodes\n(crosses: before; dots: after)")
    right.grid(alpha=0.3)
    right.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    """Run the trials one after the other; write after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--overlaps", type=int, nargs="+", default=[0, 8], help="rows")
    parser.add_argument("--latency-rows", type=int, default=4, help="control periods per decision")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--evaluations", type=int, default=30)
    parser.add_argument("--plot-only", action="store_true")
    parser.add_argument("overrides", nargs="*", help="more settings of all trials")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in [] if args.plot_only else args.seeds:
        for overlap in args.overlaps:
            rows.append(trial(args, overlap, seed))
            about = {"latency_rows": args.latency_rows, "settings": args.overrides}
            CURVES.write_text(json.dumps({**about, "trials": rows}, indent=1) + "\n")
            print({key: rows[-1][key] for key in ("overlap_rows", "before", "after")}, flush=True)
    if IDLE.is_file() and CURVES.is_file():
        curves = json.loads(CURVES.read_text())["trials"]
        plot(json.loads(IDLE.read_text()), curves, OUT / "overlap.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
