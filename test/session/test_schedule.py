from dataclasses import replace

import pytest

from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import Phase
from tmrl_ros.session.records import EpisodeRecord
from tmrl_ros.session.schedule import next_goal, plan
from tmrl_ros.session.seeds import PHASE_NAMES, episode_id

BEFORE, TRAIN, AFTER = Phase.EVALUATE_BEFORE, Phase.TRAIN, Phase.EVALUATE_AFTER


def config(*overrides):
    return load_config(
        [
            "task=lift",
            "session.evaluation_episodes=4",
            "session.train_episodes=6",
            "session.max_robot_minutes=10",
            *overrides,
        ]
    )


def records(phase, *outcomes, start=0, seconds=10.0):
    return [
        EpisodeRecord(
            episode_id(phase, start + i),
            start + i,
            PHASE_NAMES[phase],
            outcome,
            robot_seconds=seconds,
        )
        for i, outcome in enumerate(outcomes)
    ]


def goal(*parts, overrides=()):
    return next_goal(plan(config(*overrides)), [r for part in parts for r in part], 5)


ALL_BEFORE = records(BEFORE, *["timeout"] * 4)
ALL_TRAIN = records(TRAIN, *["success"] * 6)


def test_new_job_measures_the_base_policy_first():
    first = goal()
    assert (first.phase, first.episodes, first.start_index) == (BEFORE, 4, 0)
    assert (first.method, first.learn, first.deterministic) == ("base", False, True)
    assert first.max_robot_seconds == 0


def test_then_it_trains_within_the_robot_time_that_is_left():
    train = goal(ALL_BEFORE, records(TRAIN, "success", "aborted", start=0, seconds=100.0))
    assert (train.phase, train.start_index, train.episodes) == (TRAIN, 1, 5)
    assert (train.method, train.learn, train.deterministic) == ("tmrl", True, False)
    assert train.max_robot_seconds == pytest.approx(400.0)


def test_then_it_measures_again_and_ends():
    after = goal(ALL_BEFORE, ALL_TRAIN)
    assert (after.phase, after.method, after.deterministic) == (AFTER, "tmrl", True)
    assert not after.learn
    assert goal(ALL_BEFORE, ALL_TRAIN, records(AFTER, *["success"] * 4)) is None


def test_interrupted_phase_goes_on_where_it_was():
    resumed = goal(records(BEFORE, "timeout", "success"))
    assert (resumed.phase, resumed.start_index, resumed.episodes) == (BEFORE, 2, 2)


def test_aborted_episode_is_repeated():
    resumed = goal(records(BEFORE, "timeout", "aborted"))
    assert (resumed.start_index, resumed.episodes) == (1, 3)


def test_used_up_robot_time_ends_training():
    after = goal(ALL_BEFORE, records(TRAIN, "timeout", "aborted", seconds=400.0))
    assert after.phase == AFTER


def test_training_that_was_good_enough_is_not_taken_up_again():
    overrides = ("session.stop_window=2", "session.stop_success_rate=1.0")
    done = records(TRAIN, "timeout", "success", "success")
    assert goal(ALL_BEFORE, done, overrides=overrides).phase == AFTER
    assert goal(ALL_BEFORE, done[:2], overrides=overrides).phase == TRAIN


@pytest.mark.parametrize("override", ["method=base", "method=scripted", "session.train_episodes=0"])
def test_without_training_there_are_two_measurements(override):
    assert [item.phase for item in plan(config(override))] == [BEFORE, AFTER]


def test_nothing_is_measured_when_nothing_is_asked_for():
    assert [p.phase for p in plan(config("session.evaluation_episodes=0"))] == [TRAIN]


def test_more_training_asks_for_another_measurement():
    old = records(AFTER, *["success"] * 4)
    more = goal(ALL_BEFORE, ALL_TRAIN, old, overrides=("session.train_episodes=7",))
    assert (more.phase, more.start_index) == (TRAIN, 6)
    extra = records(TRAIN, "success", start=6)
    after = goal(ALL_BEFORE, ALL_TRAIN, old, extra, overrides=("session.train_episodes=7",))
    assert (after.phase, after.start_index, after.episodes) == (AFTER, 0, 4)


def test_other_jobs_have_one_phase():
    assert [p.phase for p in plan(config(), "deploy")] == [Phase.OTHER]
    (collect,) = plan(config(), "collect")
    assert (collect.phase, collect.episodes, collect.learn) == (Phase.COLLECT, 6, False)


def test_another_method_is_measured_although_the_first_one_was():
    by_tmrl = [replace(record, method="tmrl") for record in records(AFTER, *["success"] * 4)]
    assert goal(ALL_BEFORE, ALL_TRAIN, by_tmrl) is None
    again = goal(ALL_BEFORE, ALL_TRAIN, by_tmrl, overrides=["method=dsrl"])
    assert (again.phase, again.episodes, again.start_index) == (AFTER, 4, 0)
    assert again.method == "dsrl"


def test_a_method_that_takes_over_is_not_probed_any_more():
    overrides = ["method=dsrl", "session.train_episodes=9"]
    able = records(BEFORE, *["success"] * 4)
    assert "probe" in goal(able, overrides=overrides).method
    going_on = goal(able, ALL_TRAIN, overrides=overrides)
    assert (going_on.phase, going_on.start_index, going_on.method) == (TRAIN, 6, "dsrl")
