"""Does retrieval find what is relevant in recorded play, and how long does it take?

Simulated play: in every bag somebody lifts a cube once, and pushes and circles before and after
it; it is known when they lifted. In the hard one the hand trembles (4 mm), is slower or faster,
lifts air 8 cm above the table and puts things down, which are nearly the same motions. One
demonstration of `lift` is searched for. Precision and recall at as many segments as there are
lifts, the average precision over the whole ranking, and processor time. Writes
`docs/benchmarks/retrieval.json`.

    .venv/bin/python benchmarks/retrieval.py
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "test" / "data"))

from played import WIDE_M, good_path, write_bag  # noqa: E402
from test_retrieval import Play, overlap  # noqa: E402

from tmrl_ros.core.types import EpisodeOutcome  # noqa: E402
from tmrl_ros.data.retrieval import query_of, rank  # noqa: E402
from tmrl_ros.data.tool_path import read_path  # noqa: E402

PLAYS = (("easy", False, 100), ("hard", True, 40))
OUT = ROOT / "docs" / "benchmarks" / "retrieval.json"


def average_precision(relevant: list[bool], wanted: int) -> float:
    """Mean of the precision at every relevant segment, those that were not found counting 0."""
    hits = np.cumsum(relevant)
    return float(sum(hits[k] / (k + 1) for k, good in enumerate(relevant) if good) / wanted)


def main() -> int:
    """Make play, search it, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    found = {name: search(count, hard=hard) for name, hard, count in PLAYS}
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    return 0


def search(bags: int, *, hard: bool) -> dict[str, Any]:
    """Make play, search it, and compare with what is known."""
    picks, seconds = {}, 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demonstration = write_bag(folder / "demonstrations", "collect_000000", good_path(1.0))
        for number in range(bags):
            play = Play(1000 + number, hard=hard)
            path = play.path
            bag = f"other_{number:06d}"
            write_bag(folder / "play", bag, path, outcome_said=EpisodeOutcome.TIMEOUT)
            picks[bag] = play.picks
            seconds += len(path) / 20.0
        began_s = time.process_time()
        query = query_of(read_path(demonstration), WIDE_M)
        paths = [read_path(bag) for bag in sorted((folder / "play").iterdir())]
        read_s = time.process_time() - began_s
        ranked = rank(query, paths, WIDE_M, per_bag=3, most=3 * bags)
        all_s = time.process_time() - began_s
    wanted = sum(map(len, picks.values()))
    relevant = [overlap(item, picks) for item in ranked]
    return {
        "bags": bags,
        "minutes_of_play": seconds / 60,
        "lifts": wanted,
        "share_of_time": sum(b - a for p in picks.values() for a, b in p) / seconds,
        "precision_and_recall_at_lifts": sum(relevant[:wanted]) / wanted,
        "recall_at_3_per_bag": sum(relevant) / wanted,
        "average_precision": average_precision(relevant, wanted),
        "processor_s": {"reading": read_s, "all": all_s},
    }


if __name__ == "__main__":
    sys.exit(main())
