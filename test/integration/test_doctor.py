"""`tmrl doctor` on the simulated arm: the real graph, started latched and stopped again."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_doctor(tmp_path: Path, *words: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = subprocess.run(
        [sys.executable, "-m", "tmrl_ros.cli.main", "doctor", "--json", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    found = json.loads(done.stdout)
    return done.returncode, {item["check"]: item for item in found}


def test_the_simulated_cell_passes(tmp_path: Path) -> None:
    code, found = run_doctor(tmp_path, "session.domain_id=88", "session.console=false")
    bad = [item for item in found.values() if item["level"] == "bad"]
    assert (code, bad) == (0, [])
    assert found["nodes"]["level"] == found["camera wrist"]["level"] == "good"
    assert found["software stop"]["text"].startswith("latched, START")
    assert not (tmp_path / "sessions").exists(), "it leaves no session behind"


def test_remembered_pictures_tell_that_cameras_are_not_swapped(tmp_path: Path) -> None:
    words = ("session.domain_id=88", "session.console=false")
    code, found = run_doctor(tmp_path, "--remember", *words)
    assert code == 0
    assert found["reference pictures"]["text"].startswith("exterior, wrist kept in")
    assert found["cameras swapped"]["level"] == "good"
    assert (tmp_path / "calibration" / "pictures" / "wrist.png").is_file()


def test_a_missing_bundle_is_bad_and_named(tmp_path: Path) -> None:
    code, found = run_doctor(tmp_path, "--no-graph", "task.bundle=nowhere")
    assert code == 1
    assert "nowhere" in found["policy"]["text"]
    assert found["graph"]["level"] == "skipped"
