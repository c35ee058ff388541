"""Probing the steering range, as the schedule asks for it and the report tells of it."""

import pytest

from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import Phase
from tmrl_ros.session.probe import next_probe, steering_notice, steering_rows
from tmrl_ros.session.records import EpisodeRecord
from tmrl_ros.session.schedule import next_goal, plan
from tmrl_ros.session.seeds import PHASE_NAMES, episode_id

CONFIG = load_config(["task=lift", "method=tmrl_paper", "method.warmup_episodes=20"])


def record(phase, index, success, method, **more):
    outcome = "success" if success else "timeout"
    name = PHASE_NAMES[phase]
    return EpisodeRecord(episode_id(phase, index), index, name, outcome, method=method, **more)


def measured(successes):
    return [record(Phase.EVALUATE_BEFORE, i, i < successes, "base") for i in range(100)]


def probed(*sizes):
    """Sizes as (method, outcomes); numbered through."""
    each = [(method, ok) for method, outcomes in sizes for ok in outcomes]
    return [record(Phase.OTHER, i, ok, method) for i, (method, ok) in enumerate(each)]


def warmup(levels):
    flat = [(t, ok) for t, outcomes in levels.items() for ok in outcomes]
    return [
        record(Phase.TRAIN, i, ok, "tmrl", t_context=[t, t, t]) for i, (t, ok) in enumerate(flat)
    ]


def asked(*parts):
    found = next_probe(10, [r for part in parts for r in part])
    return found and (found.method, found.episodes, found.start_index)


def test_full_noise_first_then_half_and_a_quarter_while_it_is_destructive():
    base = measured(80)
    assert asked(base) == ("probe_z_1", 5, 0)
    assert asked(base, probed(("probe_z_1", [0]))) == ("probe_z_1", 4, 1), "after an interruption"
    assert asked(base, probed(("probe_z_1", [1, 0, 1, 1, 0]))) is None
    bad = ("probe_z_1", [0] * 5)
    assert asked(base, probed(bad)) == ("probe_z_0.5", 5, 5)
    assert asked(base, probed(bad, ("probe_z_0.5", [1] * 5))) is None
    worse = ("probe_z_0.5", [0] * 5)
    assert asked(base, probed(bad, worse)) == ("probe_z_0.25", 5, 10)
    assert asked(base, probed(bad, worse, ("probe_z_0.25", [0] * 5))) is None


@pytest.mark.parametrize("successes", [0, 20, 30])
def test_nothing_is_probed_where_nothing_could_be_told(successes):
    assert asked(measured(successes)) is None


def test_a_session_that_has_begun_to_train_is_not_probed_any_more():
    assert asked(measured(80), warmup({0.0: [1]})) is None


def test_the_schedule_probes_between_evaluation_and_training():
    phases = plan(CONFIG)
    goal = next_goal(phases, measured(80), 5)
    assert (goal.phase, goal.method, goal.episodes) == (Phase.OTHER, "probe_z_1", 5)
    assert not goal.learn and not goal.deterministic
    done = measured(80) + probed(("probe_z_1", [1, 1, 0, 1, 1]))
    assert next_goal(phases, done, 5).phase is Phase.TRAIN
    assert next_goal(phases, measured(20), 5).phase is Phase.TRAIN


@pytest.mark.parametrize(
    "override",
    [
        "method=base",
        "method=tmrl",
        "method=rlpd",
        "session.probe_episodes=0",
        "session.evaluation_episodes=0",
    ],
)
def test_it_is_left_out_where_it_makes_no_sense(override):
    phases = plan(load_config(["task=lift", "method=dsrl", override]))
    assert Phase.OTHER not in [phase.phase for phase in phases]


def test_the_table_says_what_was_tried_and_what_cannot_be_told():
    log = measured(80) + probed(("probe_z_1", [0] * 5), ("probe_z_0.5", [1] * 5))
    log += warmup({0.0: [1] * 10, 0.5: [0], 1.0: [0] * 5})
    rows = [
        (r["kind"], r["level"], r["successes"], r["n"], r["verdict"])
        for r in steering_rows(CONFIG, log)
    ]
    assert rows == [
        ("z", 1.0, 0, 5, "destructive"),
        ("z", 0.5, 5, 5, "no harm shown"),
        ("t", 0.0, 10, 10, "no harm shown"),
        ("t", 0.5, 0, 1, "too few to tell"),
        ("t", 1.0, 0, 5, "destructive"),
    ]


def test_the_notice_names_what_is_destructive_and_what_is_done_about_it():
    assert steering_notice(CONFIG, measured(80)) == ""
    log = measured(80) + probed(("probe_z_1", [0] * 5), ("probe_z_0.5", [1] * 5))
    text = steering_notice(CONFIG, log)
    assert "noise held over a chunk, from 100% of its range: 0 of 5" in text and "80 of 100" in text
    assert "noise is kept to 50% of its range" in text
    assert "timestep" not in steering_notice(CONFIG, log + warmup({1.0: [0] * 5}))
    done = warmup({0.0: [1] * 15, 1.0: [0] * 5})
    assert "and the context timestep to at most 0.5" in steering_notice(CONFIG, log + done)


def test_where_critics_choose_nothing_is_narrowed_and_the_notice_says_so():
    log = measured(80) + warmup({0.0: [0] * 10, 0.5: [1] * 10})
    text = steering_notice(load_config(["task=lift"]), log)
    assert "small noise held over a chunk, context timestep 0 all episode long: 0 of 10" in text
    assert "the range stays" in text


def test_a_policy_that_no_size_suits_is_named():
    sizes = [(name, [0] * 5) for name in ("probe_z_1", "probe_z_0.5", "probe_z_0.25")]
    assert "at any size: take another method" in steering_notice(
        CONFIG, measured(80) + probed(*sizes)
    )


def test_what_was_learned_later_is_no_warmup():
    later = [record(Phase.TRAIN, i, False, "tmrl", t_context=[1.0], parameters_version=3)
             for i in range(30)]  # fmt: skip
    by_base = [record(Phase.TRAIN, 30, False, "base", t_context=[0.0])]
    assert steering_rows(CONFIG, measured(80) + later + by_base) == []


def test_a_replay_that_has_begun_elsewhere_is_learned_from_without_a_probe(tmp_path):
    (tmp_path / "episodes").mkdir()
    phases = plan(load_config(["task=lift", "method=dsrl", f"session.replay_from={tmp_path}"]))
    assert Phase.OTHER not in [phase.phase for phase in phases]
