"""What the page is told, from what the node hears."""

import json

import numpy as np
import pytest
from stories import episode, record

from tmrl_ros.console.curve import curves, episode_rows
from tmrl_ros.console.minutes import Use, WallClock, robot_minutes
from tmrl_ros.console.model import ConsoleModel, SafetyReport
from tmrl_ros.core.types import (
    Chunk,
    ChunkResult,
    ChunkSource,
    EpisodeOutcome,
    EpisodeState,
    Outcome,
    Pose,
    Reward,
)

HERE = Pose(np.zeros(3), np.array([1.0, 0, 0, 0]))


def chunk(t, source=ChunkSource.POLICY, steps=8):
    actions = np.zeros((8, 4))
    return Chunk(0, 1, "train_000003", 0, source, "", HERE, HERE.quaternion, actions, steps, 20.0,
                 t_context=t)  # fmt: skip


def outcome(sent, clipped):
    none = np.zeros((sent, 4))
    return Outcome(0, 1, "train_000003", 0, ChunkSource.POLICY, ChunkResult.EXECUTED, "", sent,
                   clipped, none, none, 0.1, 0.0)  # fmt: skip


def reward(progress, valid=True):
    return Reward(0, 1, "train_000003", 0, valid, progress, progress / 2, False, False)


@pytest.fixture
def model():
    return ConsoleModel("lift-1", "lift", "lift the red cube", ("wrist",), ("reward", "learner"))


def test_a_supervisor_that_says_nothing_is_never_shown_as_well(model):
    assert model.snapshot(0.0)["safety"]["state"] == "silent"
    model.on_safety(SafetyReport("running"), 10.0)
    assert model.snapshot(10.5)["safety"]["state"] == "running"
    late = model.snapshot(11.5)["safety"]
    assert late["state"] == "silent" and "hardware stop button" in late["message"]


def test_only_another_state_of_the_stop_is_urgent(model):
    assert model.on_safety(SafetyReport("ready", targets_sent=1), 0.0)
    assert not model.on_safety(SafetyReport("ready", targets_sent=9), 0.2)
    assert model.on_safety(SafetyReport("latched", "FORCE"), 0.4)
    assert model.on_safety(SafetyReport("latched", "OPERATOR_STOP"), 0.6)


def test_an_episode_s_figures_begin_anew_with_the_next(model):
    model.on_episode(episode(state=EpisodeState.RESETTING))
    model.on_chunk(chunk(0.25))
    model.on_chunk(chunk(0.9, ChunkSource.RESET))
    model.on_chunk(chunk(0.9, steps=0))
    model.on_reward(reward(0.5))
    model.on_reward(reward(0.9, valid=False))
    model.on_outcome(outcome(8, 2))
    shown = model.snapshot(0.0)
    assert shown["t_context"] == [0.25]
    assert shown["progress"] == [0.5] and shown["success_probability"] == [0.25]
    assert (shown["clipped"]["episode"], shown["clipped"]["of"]) == (2, 8)
    model.on_episode(episode("train_000004", EpisodeState.RESETTING))
    shown = model.snapshot(0.0)
    assert shown["t_context"] == shown["progress"] == [] and shown["clipped"]["of"] == 0


def test_a_label_is_about_the_running_or_else_the_latest_episode(model):
    target = lambda: model.snapshot(0.0)["label_target"]  # noqa: E731
    assert target() == ""
    model.on_episode(episode("train_000003"))
    assert target() == "train_000003"
    model.on_episode(episode("train_000003", EpisodeState.ENDED, EpisodeOutcome.FAILURE))
    model.on_episode(episode("train_000004", EpisodeState.RESETTING))
    assert target() == "train_000003"
    model.on_episode(episode("train_000004", EpisodeState.READY))
    assert target() == "train_000004"


def test_a_late_label_does_not_end_the_running_episode(model):
    model.on_episode(episode("train_000004"))
    model.on_episode(episode("train_000003", EpisodeState.ENDED, EpisodeOutcome.SUCCESS))
    shown = model.snapshot(0.0)["episode"]
    assert (shown["id"], shown["state"]) == ("train_000004", "running")


def test_missing_nodes_are_named(model):
    model.on_nodes(["reward", "somebody_else"])
    nodes = model.snapshot(0.0)["nodes"]
    assert nodes == [{"name": "reward", "ok": True}, {"name": "learner", "ok": False}]


def test_everything_fits_into_json(model):
    model.on_episode(episode())
    model.on_recorder("not json")
    model.on_recorder('{"ok": false, "message": "disk full", "lost": 3}')
    model.on_log([record(0)])
    shown = json.loads(json.dumps(model.snapshot(0.0), allow_nan=False))
    assert shown["recorder"]["message"] == "disk full"
    assert json.loads(json.dumps(model.log(), allow_nan=False))["episodes"]


def test_curve_is_of_training_and_carries_its_interval():
    records = [record(0, "success", "evaluate_before"), record(1, "failure", "evaluate_before")]
    assert curves(records)["phase"] == "evaluate_before"
    outcomes = ["failure", "success", "aborted", "success"]
    records += [record(i, word) for i, word in enumerate(outcomes)]
    curve = curves(records)
    assert curve["phase"] == "train"
    assert curve["episode"] == [1, 2, 4]  # what was aborted does not count
    assert curve["rate"] == pytest.approx([0.0, 0.5, 2 / 3])
    assert all(
        low <= rate <= high
        for low, rate, high in zip(curve["low"], curve["rate"], curve["high"], strict=True)
    )
    assert curve["before"]["rate"] == 0.5 and curve["after"] is None


def test_episodes_are_listed_newest_first():
    rows = episode_rows([record(0, t_context=[0.0, 0.5]), record(1, "aborted", attempt=2)])
    assert [row["id"] for row in rows] == ["train_000001", "train_000000"]
    assert rows[1]["t_context"] == 0.25 and rows[0]["t_context"] is None
    assert rows[0]["attempt"] == 2


def test_minutes_of_the_robot_are_motion_and_resets():
    assert robot_minutes([record(0), record(1, "aborted")]) == {"motion": 0.2, "reset": 0.1}


def test_wall_time_is_charged_to_what_went_on():
    clock = WallClock()
    for at, state, manager in (
        (0.0, EpisodeState.IDLE, ""),
        (1.0, EpisodeState.RUNNING, ""),
        (2.0, EpisodeState.RESETTING, ""),
        (3.0, EpisodeState.READY, ""),
        (4.0, EpisodeState.ENDED, "Waiting for the learner to finish train_000001."),
        (5.0, EpisodeState.ENDED, "Waiting for reward: is everything started?"),
        (500.0, EpisodeState.RUNNING, ""),  # the console was not there
    ):
        clock.tick(at, state, manager)
    assert clock.seconds == {Use.MOTION: 1, Use.RESET: 2, Use.WAITING: 1, Use.LEARNING: 1}
    other = WallClock()
    other.restore({**{use.value: s for use, s in clock.seconds.items()}, "motion": "much"})
    assert other.seconds == {Use.MOTION: 0, Use.RESET: 2, Use.WAITING: 1, Use.LEARNING: 1}
