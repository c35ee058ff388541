"""The whole job on a real Franka's interfaces: the driver is the one that a lab runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "faults"), str(TESTS / "policies")]
from franka_bench import make_config  # noqa: E402
from franka_processes import Processes, environment  # noqa: E402
from whole_graph import Run, make_bundle, moves_while_latched  # noqa: E402

from tmrl_ros.core.types import RobotMode  # noqa: E402

EPISODES = 4


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, root: Path):
    """A job that has ended, with its exit code; a person has looked after the cell."""
    folder = tmp_path_factory.mktemp("franka_session")
    make_bundle(folder / "bundle")
    words = [
        f"task.bundle={folder / 'bundle'}",
        f"reward.bundle={root / 'bundles' / 'rewards' / 'lift'}",
        "cameras=sim_two",
        "safety=sim_table",  # contacts of the simulated arm are harder than real ones
        # The arm moves in real time, and whoever runs tests may do other things meanwhile.
        "safety.max_chunk_age_s=5",
        "robot.state_timeout_s=5",
        "robot.franka.silence_s=2",
        "task.max_decisions=3",
        "cameras.realtime_rate_hz=5",
        "recorder.cameras=none",
        "method.warmup_episodes=1",
        "method.updates_per_decision=2",
        "method.batch_size=16",
        "session.train_episodes=2",
        "session.evaluation_episodes=1",
        "session.probe_episodes=0",
        "session.console=false",
    ]
    config = make_config(folder, *words)
    cell = Processes(config, folder / "config.yaml")
    cell.cell("--cameras", "--resets")
    chosen = ["robot=franka_fr3", "task=lift", "reward=learned"]
    chosen += [f"session.domain_id={os.environ['ROS_DOMAIN_ID']}"]
    run = Run(
        folder / "session",
        [f"session.dir={folder / 'session'}", *chosen, *words],
        environment(config),
    )
    try:
        run.exit_code = run.wait()
        run.said = cell.said("cell")
        yield run
    finally:
        run.kill_everything()
        cell.end()


def test_the_job_ends_well(job: Run) -> None:
    assert job.exit_code == 0, job.output
    assert job.orphans == []
    assert job.report["finished"] is True
    assert sum(not record.aborted for record in job.records) == EPISODES
    # A busy machine answers late; nothing else may end an episode.
    assert {why for reasons in job.aborted.values() for why in reasons} <= {"STALE_CHUNK"}


def test_no_simulated_driver_has_run(job: Run) -> None:
    logs = {file.stem for file in (job.session / "logs").glob("*.log")}
    assert "franka" in logs and "sim_franka" not in logs


def test_a_person_was_asked_before_every_episode(job: Run) -> None:
    asked = job.log("franka").count("Put the objects of task lift back")
    assert asked == len(job.records) >= EPISODES


def test_bags_hold_what_the_robot_said(job: Run) -> None:
    assert len(job.bags) == EPISODES
    for name, bag in job.bags.items():
        states = bag.robot
        assert {state.frame_id for state in states} == {"fr3_link0"}, name
        assert {state.mode for state in states} == {RobotMode.MOVE}, name
        assert not any(state.faults for state in states), name
        ticks = [state.tick for state in states]
        assert ticks == sorted(ticks) and ticks[-1] > ticks[0] + 20, name
    assert all(moves_while_latched(bag) == 0 for bag in job.every_bag())


def test_the_learner_has_learned_from_every_row(job: Run) -> None:
    assert job.status["transitions"] == job.rows() > 0
    assert job.report["messages_lost"] == {"recorder": 0}


def test_the_driver_alone_has_spoken_to_the_controller(job: Run) -> None:
    assert "Multiple publishers" not in job.said
    assert "is ignored" not in job.log("franka")
    assert "Traceback" not in job.log("franka") + job.said
