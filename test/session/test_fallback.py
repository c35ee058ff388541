"""The base policy takes over where training is significantly worse, and only there."""

from dataclasses import replace

import numpy as np
import pytest

from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import Phase
from tmrl_ros.session.fallback import BASE, Next, Rule, fallbacks, next_block, notice, rule_of
from tmrl_ros.session.records import EpisodeRecord
from tmrl_ros.session.schedule import next_goal, plan
from tmrl_ros.session.seeds import PHASE_NAMES, episode_id

RULE = Rule(method="tmrl", warmup=20, window=40, every=10, episodes=20, looks=18)
EPISODES = 200


def record(phase, index, success, method="tmrl"):
    outcome = "success" if success else "timeout"
    name = PHASE_NAMES[phase]
    return EpisodeRecord(episode_id(phase, index), index, name, outcome, method=method)


def measured(successes, n=100):
    return [record(Phase.EVALUATE_BEFORE, i, i < successes, BASE) for i in range(n)]


def run(base, succeeds, rule=RULE, episodes=EPISODES):
    """A whole training, goal by goal; `succeeds(index, by_base)` says how an episode ends."""
    log = list(base)
    done = goals = 0
    while done < episodes:
        block = next_block(rule, log, episodes - done)
        assert 1 <= block.episodes <= episodes - done
        goals += 1
        for index in range(done, done + block.episodes):
            method = BASE if block.by_base else "tmrl"
            log.append(record(Phase.TRAIN, index, succeeds(index, block.by_base), method))
        done += block.episodes
    return log, goals


def acted_by_base(log):
    return [r.index for r in log if r.phase == "train" and r.method == BASE]


def test_training_that_fails_hands_over_to_the_base_policy_and_is_tried_again():
    log, _ = run(measured(80), lambda index, by_base: by_base or index < 20)
    first, second = fallbacks(RULE, log)[:2]
    assert (first.index, first.episodes, first.why.successes, first.why.n) == (30, 20, 0, 10)
    assert (second.index, second.why.n) == (60, 10), "after ten more episodes of its own"
    assert acted_by_base(log)[:21] == [*range(30, 50), 60]


def test_training_that_recovers_is_left_alone():
    log, _ = run(measured(80), lambda index, _: index >= 50)
    assert acted_by_base(log) == list(range(30, 50))
    assert len(fallbacks(RULE, log)) == 1


def test_warmup_does_not_count():
    log, _ = run(measured(90), lambda index, _: index >= 20)
    assert acted_by_base(log) == []


def test_a_collapse_late_in_training_is_seen_too():
    log, _ = run(measured(60), lambda index, by_base: by_base or index < 120)
    (first, *_) = fallbacks(RULE, log)
    assert 130 <= first.index <= 150
    assert first.why.n == 40, "the window has forgotten nothing of it yet"


@pytest.mark.parametrize("base", [measured(0), measured(5), measured(1, n=2), []])
def test_a_base_policy_that_hardly_succeeds_or_was_not_measured_never_acts(base):
    log, goals = run(base, lambda *_: False)
    assert acted_by_base(log) == []
    assert goals == 1, "nothing is interrupted for looks that cannot matter"


def test_it_can_be_turned_off():
    off = replace(RULE, window=0)
    log, goals = run(measured(100), lambda *_: False, off)
    assert (acted_by_base(log), goals) == ([], 1)


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
def test_over_a_whole_run_it_errs_in_at_most_one_of_twenty(rate):
    """As good as the base, looked at again and again: a run falls back with at most 5 %."""
    runs, rng = 120, np.random.default_rng(1)
    fell = 0
    for _ in range(runs):
        base = measured(int(rng.binomial(100, rate)))
        outcomes = rng.random(EPISODES) < rate
        log, _ = run(base, lambda index, _, o=outcomes: bool(o[index]))
        fell += bool(acted_by_base(log))
    assert fell / runs <= 0.05


@pytest.mark.parametrize(("base_rate", "rate"), [(0.5, 0.1), (0.8, 0.4), (0.95, 0.5)])
def test_it_sees_what_is_much_worse(base_rate, rate):
    runs, rng = 60, np.random.default_rng(2)
    fell = 0
    for _ in range(runs):
        base = measured(int(rng.binomial(100, base_rate)))
        outcomes = rng.random(EPISODES) < rate
        log, _ = run(base, lambda index, by_base, o=outcomes: by_base or bool(o[index]))
        fell += bool(acted_by_base(log))
    assert fell >= 0.95 * runs


def test_another_method_begins_with_a_clean_slate():
    failed = [record(Phase.TRAIN, i, False) for i in range(30)]
    assert next_block(RULE, measured(80) + failed, 170).by_base
    switched = replace(RULE, method="expo")
    assert next_block(switched, measured(80) + failed, 170) == Next(False, 10)
    more = [record(Phase.TRAIN, 30 + i, False, "expo") for i in range(10)]
    assert next_block(switched, measured(80) + failed + more, 160).by_base


def test_an_interrupted_session_decides_the_same():
    log, _ = run(measured(80), lambda index, by_base: by_base)
    training = [r for r in log if r.phase == "train"]
    for done in range(1, EPISODES):
        before = measured(80) + training[:done]
        again = next_block(RULE, before, EPISODES - done)
        assert again.by_base == (training[done].method == BASE), done


def test_the_notice_says_why_and_until_when():
    log, _ = run(measured(80), lambda index, by_base: by_base or index < 20)
    before = [r for r in log if r.phase != "train" or r.index < 30]
    during = [r for r in log if r.phase != "train" or r.index < 40]
    after = [r for r in log if r.phase != "train" or r.index < 50]
    assert notice(RULE, before) == notice(RULE, during)
    assert "training episodes 31 to 50" in notice(RULE, during)
    assert "0 of the last 10" in notice(RULE, during) and "80 of 100" in notice(RULE, during)
    assert notice(RULE, after) == "" == notice(RULE, measured(80))


def test_the_schedule_asks_for_the_base_policy_and_lets_it_be_learned_from():
    config = load_config(["task=lift", f"session.train_episodes={EPISODES}"])
    assert rule_of(config) == RULE
    failed = [record(Phase.TRAIN, i, i < 20) for i in range(30)]
    goal = next_goal(plan(config), measured(80) + failed, 5)
    assert (goal.phase, goal.method, goal.learn) == (Phase.TRAIN, BASE, True)
    assert (goal.start_index, goal.episodes, goal.deterministic) == (30, 20, False)
    first = next_goal(plan(config), measured(80), 5)
    assert (first.method, first.start_index, first.episodes) == ("tmrl", 0, 30)
    base_of_none = next_goal(plan(config), measured(0), 5)
    assert base_of_none.episodes == EPISODES
