"""Two policies compared over the real graph: same starts, in turns, with a report."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from tmrl_ros.data.bag_reader import bag_folders, read_episode
from tmrl_ros.policies.bundle import read_spec
from tmrl_ros.session.records import load_records

ROOT = Path(__file__).parents[2]


def test_two_bundles_meet_the_same_starts_in_turns(tmp_path: Path) -> None:
    session = tmp_path / "session"
    bundles = {name: ROOT / "bundles" / name for name in ("lift", "lift_points")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tmrl_ros.cli.main", "evaluate", "--plain", "task=lift"),
            *(f"{name}={folder}" for name, folder in bundles.items()),
            f"session.dir={session}",
            f"session.domain_id={os.environ['ROS_DOMAIN_ID']}",
            "session.console=false",
            "session.decision_timeout_s=60",
            "comparison.starts=2",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    seeds = defaultdict(set)
    for record in load_records(session):
        seeds[record.seed].add(record.bundle_hash)
    wanted = {read_spec(folder).digest() for folder in bundles.values()}
    assert list(seeds.values()) == [wanted, wanted], "every start is met by both"
    assert len(list(bag_folders(session))) == 4
    began = [read_episode(bag).chunks[0] for bag in bag_folders(session)]
    assert all(chunk.bundle_hash in wanted for chunk in began)
    report = json.loads((session / "report.json").read_text())
    assert {item["name"] for item in report["contenders"]} == set(bundles)
    assert [item["rate"]["n"] for item in report["contenders"]] == [2, 2]
