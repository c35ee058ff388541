"""A person collects demonstrations over DDS, and a policy is pre-trained on what was recorded."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tmrl_ros.core.collect_config import CollectConfig
from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.load import load_config, read_config
from tmrl_ros.core.types import ChunkSource, EpisodeOutcome, Phase
from tmrl_ros.data.bag_reader import read_episode
from tmrl_ros.data.collected import read_collected
from tmrl_ros.policies.bundle import load_bundle
from tmrl_ros.policies.pretrain import pretrain
from tmrl_ros.policies.training import TrainingSettings
from tmrl_ros.session.records import load_records
from tmrl_ros.session.status import read_json

PATIENCE_S = 400.0  # keeps a broken test from hanging; nothing is measured by it
PERSON = Path(__file__).parents[2] / "benchmarks" / "scripted_person.py"
WANTED = 2


@pytest.fixture(scope="module")
def session(tmp_path_factory, domain_id) -> Path:
    """A session in which the scripted person has demonstrated twice; nobody else judged."""
    folder = tmp_path_factory.mktemp("collect") / "session"
    words = [
        *("collect", "--plain", "task=lift", "task.region=demo", "task.demonstration.miss=0"),
        *(f"session.dir={folder}", f"session.domain_id={domain_id}", "session.console=false"),
        *(f"session.train_episodes={WANTED}", "recorder.cameras=none"),
        *("teleop.max_speed_mps=0.5", "cameras.realtime_rate_hz=5"),
    ]
    log = folder.parent / "output.txt"
    with log.open("wb") as output:
        job = subprocess.Popen(
            [sys.executable, "-m", "tmrl_ros.cli.main", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        person = None
        try:
            file = folder / "config.yaml"
            deadline = time.monotonic() + PATIENCE_S
            while not file.is_file():
                assert job.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            person = subprocess.Popen(
                [sys.executable, str(PERSON), f"config_file:={file}"],
                env={**os.environ, **node_environment(read_config(file))},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            assert job.wait(PATIENCE_S) == 0, log.read_text()
        finally:
            for process in (job, person):
                if process is not None and process.poll() is None:
                    with contextlib.suppress(psutil.Error):
                        for child in psutil.Process(process.pid).children(recursive=True):
                            child.kill()
                    process.kill()
                    process.wait()
    return folder


def test_every_demonstration_is_an_episode_of_its_own(session):
    records = [item for item in load_records(session) if not item.aborted]
    assert [item.episode_id for item in records] == ["collect_000000", "collect_000001"]
    assert {(item.outcome, item.labelled_by) for item in records} == {("success", "operator")}
    config = read_config(session / "config.yaml")
    assert config.robot.realtime and config.reward.backend == "none" and config.by_person


def test_no_policy_no_learner_and_no_reward_ran(session):
    logs = {path.stem for path in (session / "logs").glob("*.log")}
    assert "demonstrator" in logs
    assert not logs & {"policy_server", "learner", "reward"}


def test_every_row_is_the_person_s_and_passed_the_supervisor(session):
    record = read_episode(session / "episodes" / "collect_000000", robot=True)
    assert {event.phase for event in record.events} == {Phase.COLLECT}
    moves = [item for item in record.outcomes if item.source is not ChunkSource.RESET]
    assert {item.source for item in moves} == {ChunkSource.HUMAN}
    sent = [target for target in record.targets if not target.hold]
    assert len(sent) >= sum(item.steps_sent for item in moves) > 20


def test_nothing_moves_between_ready_and_the_person(session):
    record = read_episode(session / "episodes" / "collect_000001", robot=True)
    at = {event.state.name: event.stamp_ns for event in record.events}
    between = [t for t in record.targets if at["READY"] <= t.stamp_ns < at["RUNNING"]]
    assert not [target for target in between if not target.hold]


def test_they_are_good_enough_to_learn_from(session):
    found = read_collected(session, CollectConfig())
    assert len(found) == WANTED
    for item in found:
        assert item.usable and item.by_person, item.quality
        assert item.quality.grasps and 1.0 < item.quality.length_s < 40.0
    status = read_json(session / "status.json")["collected"]
    assert status.startswith(f"{WANTED} kept ({WANTED} successes")


def test_a_bundle_is_trained_on_them(session, tmp_path):
    config = load_config(["task=lift"])
    spec = pretrain(config, session, tmp_path / "bundle", TrainingSettings(iterations=5))
    assert spec.training.demonstrations == WANTED
    demonstrations = [item.demonstration for item in read_collected(session, config.collect)]
    rows = sum(int(item.execute_steps.sum()) for item in demonstrations if item is not None)
    assert 20 * WANTED < spec.training.samples <= rows
    assert load_bundle(tmp_path / "bundle")[0].digest() == spec.digest()


def test_what_is_thrown_away_is_left_out(session):
    thrown = [item for item in load_records(session) if item.aborted]
    names = {item.path.name for item in read_collected(session, CollectConfig())}
    assert all(f"{item.episode_id}.aborted-1" not in names for item in thrown)
    assert {EpisodeOutcome.SUCCESS} == {
        item.demonstration.outcome
        for item in read_collected(session, CollectConfig())
        if item.demonstration is not None
    }
