"""How much of an episode the arm waits for chunks, where a decision takes 200 ms.

The job over the graph with a simulated arm in real time and a policy that is slowed down, once
without and once with `session.overlap_rows`, on the same start states. What is counted comes from
the bags: control periods between first and last target of an episode, and those without a target.
The bundle needs chunks of twice the overlap:

    tmrl pretrain task=lift task.pretraining.horizon=16 task.pretraining.execute_steps=8 \
        --out sessions/lift16
    python benchmarks/idle_share.py --bundle sessions/lift16

Writes `docs/benchmarks/idle_share.json`; `overlap_curves.py` draws it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from slow_policy_server import LATENCY

from tmrl_ros.analysis.one_bag import BagDigest, read_bag
from tmrl_ros.cli.processes import Command, Processes
from tmrl_ros.cli.run import command
from tmrl_ros.cli.session_folder import session_for
from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.graph import nodes_for
from tmrl_ros.core.types import NANOSECONDS, ChunkSource, Outcome
from tmrl_ros.data.bag_reader import bag_folders
from tmrl_ros.policies.bundle import read_spec
from tmrl_ros.session.records import EpisodeRecord, load_records

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "docs" / "benchmarks" / "idle_share.json"
SETTINGS = (
    *("task=lift", "reward=simulator", "robot.realtime=true", "recorder.cameras=none"),
    *("session.probe_episodes=0", "session.fallback_window=0", "session.console=false"),
)
PHASES = ("evaluate_before", "train", "evaluate_after")


def run(folder: Path, overrides: list[str], latency_s: float) -> None:
    """One session, with the policy server slowed down."""
    session = session_for("finetune", [f"session.dir={folder}", *overrides], None)
    nodes = nodes_for(session.config, session.config_file, "finetune")
    session.open()
    environment = {**node_environment(session.config), LATENCY: str(latency_s)}
    try:
        commands = [slowed(command(node)) for node in nodes]
        with Processes(commands, environment, folder / "logs", say=print) as processes:
            processes.start()
            while (end := processes.poll()) is None:
                time.sleep(0.5)
            processes.stop()
    finally:
        session.close()
    if end.exit_code:
        raise RuntimeError(f"the session ended with {end.exit_code}: {end.message}")


def slowed(item: Command) -> Command:
    """The command of a node; another program in the place of the policy server."""
    if item.name != "policy_server":
        return item
    program = str(HERE / "slow_policy_server.py")
    return replace(item, argv=[sys.executable, program, *item.argv[3:]])


def figures(folder: Path) -> dict[str, Any]:
    """What the bags and the log of a session say, by phase."""
    records = {record.episode_id: record for record in load_records(folder) if not record.aborted}
    digests = [read_bag(bag) for bag in bag_folders(folder)]
    found = [(records[item.episode_id], item) for item in digests if item.episode_id in records]
    return {phase: of_phase([pair for pair in found if pair[0].phase == phase]) for phase in PHASES}


def of_phase(found: list[tuple[EpisodeRecord, BagDigest]]) -> dict[str, Any]:
    """Figures of the episodes of a phase."""
    counts = [digest.idle_periods() for _, digest in found]
    periods, idle = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
    outcomes: list[Outcome] = [
        item
        for _, digest in found
        for _, item in digest.own(Outcome).values()
        if item.source is ChunkSource.POLICY
    ]
    running = [record.robot_seconds - record.reset_seconds for record, _ in found]
    walls = [(digest.ended_ns - digest.running_ns) / NANOSECONDS for _, digest in found]
    return {
        "episodes": len(found),
        "successes": sum(record.success for record, _ in found),
        "periods": periods,
        "idle_periods": idle,
        "idle_share": round(idle / periods, 4) if periods else None,
        "idle_share_by_episode": [round(i / max(n, 1), 4) for n, i in counts],
        "running_s": round(sum(running), 2),
        "robot_per_wall_second": round(sum(running) / max(sum(walls), 1e-9), 3),
        "chunks_executed": sum(item.steps_sent > 0 for item in outcomes),
        "refused": sorted({item.reason for item in outcomes if item.reason}),
        "refusals": sum(item.reason != "" for item in outcomes),
    }


def main() -> int:
    """Run both sessions, one after the other, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--overlap", type=int, default=8, help="rows")
    parser.add_argument("--latency", type=float, default=0.2, help="s per decision, at least")
    parser.add_argument("--evaluations", type=int, default=10)
    parser.add_argument("--episodes", type=int, default=10, help="of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--domain", type=int, default=47)
    parser.add_argument("--sessions", type=Path, default=HERE.parent / "sessions" / "idle_share")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("overrides", nargs="*", help="more settings of both sessions")
    args = parser.parse_args()
    spec = read_spec(args.bundle)
    rows: list[dict[str, Any]] = []
    for overlap in (0, args.overlap):
        folder = args.sessions / f"overlap_{overlap}"
        overrides = [
            *SETTINGS,
            f"task.bundle={args.bundle.resolve()}",
            f"session.overlap_rows={overlap}",
            f"session.seed={args.seed}",
            f"session.domain_id={args.domain}",
            f"session.train_episodes={args.episodes}",
            f"session.evaluation_episodes={args.evaluations}",
            *args.overrides,
        ]
        if not (folder / "report.json").is_file():
            run(folder, overrides, args.latency)
        rows.append({"overlap_rows": overlap, **figures(folder)})
        print(json.dumps(rows[-1]), flush=True)
    result = {
        "latency_ms": args.latency * 1e3,
        "horizon": spec.action.horizon,
        "execute_steps": spec.action.execute_steps,
        "control_rate_hz": spec.action.rate_hz,
        "seed": args.seed,
        "settings": [*SETTINGS, *args.overrides],
        "cores": os.cpu_count(),
        "sessions": rows,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
