"""How long does the report of recorded bags take?

Copies episodes of a recorded session until there are as many as asked for, and times `tmrl bag
report` on them with one thread.

    python benchmarks/bag_report.py SESSION [--episodes 100] [--repeats 3]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path

from tmrl_ros.analysis.bag_report import build_bag_report
from tmrl_ros.analysis.digest import digest_session
from tmrl_ros.data.bag_reader import bag_folders

TARGET_S = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("session", type=Path)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file")
    args = parser.parse_args()
    bags = bag_folders(args.session)
    with tempfile.TemporaryDirectory() as folder:
        episodes = Path(folder) / "episodes"
        episodes.mkdir()
        step = max(1, len(bags) // args.episodes)
        for number, bag in enumerate(
            itertools.islice(itertools.cycle(bags[::step]), args.episodes)
        ):
            (episodes / f"{bag.name}.{number}").symlink_to(bag.absolute())
        taken = list(episodes.iterdir())
        size = sum(file.stat().st_size for bag in taken for file in bag.iterdir())
        reading, whole = [], []
        for _ in range(args.repeats):
            started = time.perf_counter()
            digest = digest_session(Path(folder))
            reading.append(time.perf_counter() - started)
            started = time.perf_counter()
            build_bag_report(Path(folder))
            whole.append(time.perf_counter() - started)
    result = {
        "episodes": args.episodes,
        "decisions": len(digest.decisions),
        "bags_mb": round(size / 1e6, 1),
        "reading_s": [round(value, 2) for value in reading],
        "report_s": [round(value, 2) for value in whole],
        "median_s": round(statistics.median(whole), 2),
        "target_s": TARGET_S,
    }
    print(json.dumps(result, indent=2))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
