import json
import os
import subprocess
import sys

import pytest

from tmrl_ros.cli.memory import MemoryLog, memory_mb

HOLD = """
import os, sys, time
held = bytearray(os.urandom(1)) * {megabytes}_000_000
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder():
    started = []

    def hold(megabytes):
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", HOLD.format(megabytes=megabytes)],
            stdout=subprocess.PIPE,
            process_group=0,
        )
        started.append(process)
        process.stdout.readline()
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def test_memory_of_a_process_is_what_it_holds(holder):
    small, large = holder(1), holder(101)
    sizes = memory_mb({"small": small.pid, "large": large.pid})
    assert sizes["large"] - sizes["small"] == pytest.approx(100, abs=5)
    assert sizes["launcher"] > 0


def test_an_ended_process_counts_nothing():
    assert memory_mb({"gone": 2**22 + 1}).keys() == {"launcher"}


def test_peaks_are_kept_after_the_process_has_gone(holder, tmp_path):
    log = MemoryLog(tmp_path)
    process = holder(50)
    log.sample({"learner": process.pid})
    process.kill()
    process.wait()
    log._due = 0.0
    log.sample({})
    content = json.loads((tmp_path / "memory.json").read_text())
    assert content["nodes"]["learner"] > 50
    assert content["peak_memory_mb"] > 50
    assert MemoryLog(tmp_path).peaks_mb == content["nodes"]  # a resumed session keeps them
    assert [item for item in os.listdir(tmp_path) if item.startswith("memory")] == ["memory.json"]
