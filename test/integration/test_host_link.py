"""Both ends of the link between robot PC and GPU PC, as processes over real DDS."""

import json
import subprocess
import sys

import pytest

from tmrl_ros.core.load import load_config, write_config

PATIENCE_S = 120.0  # keeps a broken test from hanging; nothing is measured by it


@pytest.fixture
def end(tmp_path):
    """Starts one end with a configuration; whatever still runs is ended with the test."""
    started = []

    def go(host, *overrides):
        file = tmp_path / f"{host}.yaml"
        two = ["session.localhost_only=false", f"session.host={host}"]
        write_config(load_config([*two, *overrides]), file)
        argv = [sys.executable, "-m", "tmrl_ros.nodes.host_link", "--ros-args"]
        process = subprocess.Popen(
            [*argv, "-p", f"config_file:={file}"], stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield go
    for process in started:
        process.kill()
        process.communicate()


def test_different_configurations_end_both_parts_with_one_sentence_each(end):
    ends = end("robot"), end("gpu", "task.max_decisions=5")
    said = [process.communicate(timeout=PATIENCE_S)[1].splitlines()[-1] for process in ends]
    assert [process.returncode for process in ends] == [2, 2]
    assert said[0] == (
        "The robot PC and the gpu PC were started with different configurations "
        "(task.max_decisions is 12 here, 5 there): type the same command on both, with only "
        "session.host different."
    )
    assert "(task.max_decisions is 5 here, 12 there)" in said[1]


def test_a_look_finds_the_other_computer_and_compares_clocks(end, tmp_path):
    end("gpu")
    file = tmp_path / "look.yaml"
    write_config(load_config(["session.localhost_only=false", "session.host=robot"]), file)
    argv = [sys.executable, "-m", "tmrl_ros.nodes.host_link", str(file), "--look"]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    found = {item["check"]: item for item in json.loads(said.stdout.splitlines()[-1])}
    assert found["gpu PC"]["level"] == "good"
    assert found["clocks"]["level"] == "good", found  # both read the same clock


def test_a_look_at_nobody_says_so(tmp_path):
    file = tmp_path / "look.yaml"
    write_config(load_config(["session.localhost_only=false", "session.host=gpu"]), file)
    argv = [sys.executable, "-m", "tmrl_ros.nodes.host_link", str(file), "--look"]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    found = json.loads(said.stdout.splitlines()[-1])
    assert [(item["check"], item["level"]) for item in found] == [("robot PC", "bad")]
