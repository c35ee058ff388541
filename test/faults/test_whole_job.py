"""The whole job in its smallest form, and what is refused while it runs and after."""

import json
import math
import shutil
from pathlib import Path

import pytest
from whole_graph import is_readable, moves_while_latched, tmrl

FIGURES = {
    "robot_minutes",
    "wall_minutes",
    "peak_memory_mb",
    "seed",
    "method",
    "task",
    "versions",
    "config_hash",
}


@pytest.fixture(scope="module")
def job(start, bundle, domain_id, tmp_path_factory):
    """A job that has ended, its exit code, and what a second graph was told meanwhile."""
    run = start("session.train_episodes=4", "session.seed=7", "recorder.cameras=all")
    run.until(lambda: run.node("session"), "the last node")
    run.until(lambda: run.status, "a sign of life")
    other = tmp_path_factory.mktemp("other") / "session"
    words = ["task=lift", f"task.bundle={bundle}", f"session.domain_id={domain_id}"]
    second = tmrl("finetune", *words, f"session.dir={other}")
    assert not other.exists()
    run.second = second
    run.exit_code = run.wait()
    return run


def test_the_job_ends_well_and_nothing_is_left_running(job):
    assert job.exit_code == 0, job.output
    assert f"Report: {job.session / 'report.html'}" in job.output
    assert "RESUME" not in job.output
    assert job.orphans == []
    assert job.aborted == {}


def test_the_report_says_what_was_reached_and_what_it_took(job):
    report = job.report
    for rate in (report["success_before"], report["success_after"]):
        assert rate["n"] == 1
        assert 0 <= rate["low"] <= rate["rate"] <= rate["high"] <= 1
    assert report["episodes"] == 4
    assert report["finished"] is True
    assert report.keys() >= FIGURES
    assert (report["seed"], report["method"], report["task"]) == (7, "tmrl", "lift")
    for name in ("robot_minutes", "wall_minutes", "peak_memory_mb"):
        assert math.isfinite(report[name]) and report[name] > 0, name
    assert report["versions"] and report["config_hash"]
    assert (job.session / "report.html").stat().st_size > 0
    plots = list((job.session / "plots").glob("*.png"))
    assert plots and all(plot.stat().st_size > 0 for plot in plots)


def test_every_episode_has_one_bag_that_every_tool_can_read(job):
    wanted = [f"train_{index:06d}" for index in range(4)]
    wanted += ["evaluate_before_000000", "evaluate_after_000000"]
    assert sorted(job.bags) == sorted(wanted)
    assert {bag.name for bag in job.every_bag()} == set(wanted)
    for bag in job.every_bag():
        assert is_readable(bag), bag.name
        assert moves_while_latched(bag) == 0


def test_the_learner_has_learned_from_every_row(job):
    assert job.status["transitions"] == job.rows() > 0
    assert job.report["messages_lost"] == {"recorder": 0}


def test_a_second_graph_in_the_same_domain_is_refused(job, domain_id):
    assert job.second.returncode == 2, job.second.stdout
    said = job.second.stderr
    assert f"session.domain_id={domain_id} is in use: node /" in said
    assert "stop that graph or set session.domain_id to another number" in said
    assert said.count("\n") == 1


def test_a_session_s_folder_is_not_used_for_another(job):
    before = sorted(job.session.rglob("*"))
    said = tmrl("finetune", "task=lift", f"session.dir={job.session}")
    assert said.returncode == 2
    assert f"session.dir={job.session} holds another session: continue that one" in said.stderr
    assert said.stderr.count("\n") == 1
    assert sorted(job.session.rglob("*")) == before


def test_recorded_sensors_give_the_same_observations_and_decisions_again(job):
    said = tmrl("replay", str(job.session), "--json")
    assert said.returncode == 0, said.stdout + said.stderr
    found = json.loads(said.stdout)
    assert found["same"] is True
    assert found["episodes"] == 6 and found["observations"] >= 12
    assert found["largest_difference"]["picture_values"] == 0
    assert found["observations_not_made"] == [] == found["damaged"]
    # The evaluation before has noise of its own in every row, which a chunk does not keep.
    assert found["chunks_compared"] >= 5 and found["chunks_unknown"] >= 1


def test_another_policy_is_asked_about_the_same_observations(job):
    other = Path(__file__).parents[2] / "bundles" / "lift_points"
    said = tmrl("replay", str(job.session), "--json", "--episodes", "1", f"task.bundle={other}")
    found = json.loads(said.stdout)
    assert said.returncode == 1 and found["same"] is False
    assert found["other_policy_m"]["p50"] > 0


def test_a_sensor_that_differs_is_found(job, tmp_path):
    """Perception that sees with another lens makes other observations of the same pictures."""
    session = tmp_path / "session"
    shutil.copytree(job.session, session)
    config = (session / "config.yaml").read_text()
    moved = config.replace("- 1.12\n", "- 1.15\n", 1)
    assert moved != config
    (session / "config.yaml").write_text(moved)
    said = tmrl("replay", str(session), "--json", "--episodes", "2")
    found = json.loads(said.stdout)
    assert said.returncode == 1 and found["same"] is False
    assert found["largest_difference"]["points_m"] > 0.01
