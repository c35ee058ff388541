"""Does learning delay decisions? Observation to chunk, with the learner at work and without.

Reads finished sessions: training after warm-up has the learner at work, the evaluation after it has
the same policy choosing among as many candidates and nothing to learn, the one before it the frozen
policy alone. Writes `docs/benchmarks/decision_latency.json`.

    .venv/bin/tmrl finetune session.dir=sessions/latency
    .venv/bin/python benchmarks/decision_latency.py sessions/latency
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tmrl_ros.core.load import read_config
from tmrl_ros.core.types import Phase
from tmrl_ros.session.records import load_records, of_phase
from tmrl_ros.session.report import latency
from tmrl_ros.session.seeds import PHASE_NAMES

OUT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "decision_latency.json"


def measured(session: Path) -> dict[str, Any]:
    """Percentiles, ms, for each state of the learner."""
    records = load_records(session)
    config = read_config(session / "config.yaml")
    if not records:
        raise SystemExit(f"{session} has no episodes: name the folder of a session that has ended.")

    def over(phase: Phase, first: int = 0) -> dict[str, Any]:
        kept = [item for item in of_phase(records, PHASE_NAMES[phase]) if item.index >= first]
        return latency([value for item in kept for value in item.latency_ms])

    return {
        "session": session.name,
        "task": config.task.name,
        "learning": over(Phase.TRAIN, config.method.warmup_episodes),
        "not learning": over(Phase.EVALUATE_AFTER),
        "frozen policy": over(Phase.EVALUATE_BEFORE),
    }


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sessions", type=Path, nargs="+")
    found = [measured(session) for session in parser.parse_args().sessions]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1) + "\n")
    for row in found:
        for name in ("learning", "not learning", "frozen policy"):
            values = row[name]
            if values["n"]:
                print(
                    f"{row['task']}, {name}: p50 {values['p50']:.0f} ms, p99 {values['p99']:.0f} ms"
                    f" ({values['n']} decisions)"
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
