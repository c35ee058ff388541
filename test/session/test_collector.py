from dataclasses import replace

import episode_events
import numpy as np
from story import DOWN, HOME, NAME, PERIOD_NS, make_spec, outcome

from tmrl_ros.core.types import (
    Chunk,
    ChunkSource,
    Episode,
    EpisodeOutcome,
    EpisodeState,
    Pose,
)
from tmrl_ros.session.collector import Collector

NONE, SUCCESS, FAILURE, _, ABORTED = EpisodeOutcome
BEGUN_NS = 80 * PERIOD_NS


def event(state, stamp_ns=0, outcome=NONE, by="", robot_seconds=0.0):
    known = Episode.__dataclass_fields__
    spec = {name: value for name, value in vars(make_spec()).items() if name in known}
    return episode_events.event(
        state=state,
        outcome=outcome,
        decisions=2,
        labelled_by=by,
        stamp_ns=stamp_ns,
        robot_seconds=robot_seconds,
        **spec,
    )


def chunk(stamp_ns, t_context, execute_steps=8, source=ChunkSource.POLICY, episode=NAME):
    return Chunk(
        stamp_ns,
        1,
        episode,
        0,
        source,
        "cartesian_relative",
        Pose(HOME, DOWN),
        DOWN,
        np.zeros((8, 4)),
        execute_steps,
        20.0,
        z=np.array([3.0, 4.0], np.float32),
        t_context=t_context,
        parameters_version=7,
        bundle_hash="abc",
    )


def play(collector, start_s=0.0, result=SUCCESS):
    collector.on_episode(event(EpisodeState.RESETTING), start_s, 0.0)
    collector.on_episode(event(EpisodeState.RUNNING, BEGUN_NS), start_s + 1.0, 0.0)
    for k, t in enumerate((0.25, 0.5)):
        collector.on_observation(BEGUN_NS + k, start_s + 1.0 + k)
        collector.on_chunk(chunk(BEGUN_NS + k, t), start_s + 1.004 + k)
        done = outcome(k, BEGUN_NS + (k + 1) * 8 * PERIOD_NS)
        collector.on_outcome(replace(done, steps_clipped=k))
    collector.on_observation(BEGUN_NS + 2, start_s + 3.0)
    collector.on_chunk(chunk(BEGUN_NS + 2, 0.9, execute_steps=0), start_s + 3.01)
    done = event(EpisodeState.ENDED, 96 * PERIOD_NS, result, "reward", 4.8)
    return collector.on_episode(done, start_s + 3.5, 60.0)


def test_record_holds_what_happened_at_every_decision():
    collector = Collector(learner={"critic_loss": 0.5})
    record = play(collector)
    assert record.t_context == [0.25, 0.5], "the last chunk moved nothing"
    assert record.z_norm == [5.0, 5.0]
    assert record.latency_ms == [4.0, 4.0, 10.0]
    assert (record.steps_sent, record.steps_clipped) == (16, 1)
    assert (record.reset_seconds, record.robot_seconds, record.wall_s) == (4.0, 4.8, 3.5)
    assert (record.parameters_version, record.bundle_hash) == (7, "abc")
    assert record.learner == {"critic_loss": 0.5}
    assert (record.phase, record.outcome, record.success) == ("train", "success", True)


def test_repeated_episode_is_the_next_attempt_and_starts_empty():
    collector = Collector(attempts={NAME: 3})
    assert play(collector, result=ABORTED).attempt == 3
    again = play(collector, start_s=10.0)
    assert (again.attempt, again.t_context, again.steps_sent) == (4, [0.25, 0.5], 16)


def test_other_label_changes_the_record_and_keeps_its_attempt():
    collector = Collector()
    record = play(collector, result=FAILURE)
    same = event(EpisodeState.ENDED, 0, FAILURE, "reward")
    assert collector.on_episode(same, 9.0, 9.0) is None
    changed = collector.on_episode(event(EpisodeState.ENDED, 0, SUCCESS, "anna"), 9.0, 9.0)
    assert (changed.outcome, changed.labelled_by) == ("success", "anna")
    assert (changed.attempt, changed.robot_seconds) == (record.attempt, record.robot_seconds)


def test_end_of_an_episode_that_was_never_seen_is_no_record():
    assert Collector().on_episode(event(EpisodeState.ENDED, 0, SUCCESS), 0.0, 0.0) is None


def test_late_answers_to_an_earlier_attempt_are_not_counted():
    collector = Collector()
    play(collector, result=ABORTED)
    collector.on_episode(event(EpisodeState.RESETTING, 100 * PERIOD_NS), 5.0, 0.0)
    collector.on_episode(event(EpisodeState.RUNNING, 180 * PERIOD_NS), 6.0, 0.0)
    collector.on_chunk(chunk(BEGUN_NS, 0.7), 6.1)
    collector.on_outcome(outcome(0, 181 * PERIOD_NS, age_s=100 * 0.05))
    record = collector.on_episode(event(EpisodeState.ENDED, 0, SUCCESS), 7.0, 1.0)
    assert (record.t_context, record.latency_ms, record.steps_sent) == ([], [], 0)


def test_chunks_of_resets_and_of_others_are_not_counted():
    collector = Collector()
    collector.on_episode(event(EpisodeState.RESETTING), 0.0, 0.0)
    collector.on_chunk(chunk(0, 0.7, source=ChunkSource.RESET), 0.0)
    collector.on_chunk(chunk(0, 0.7, episode="train_000099"), 0.0)
    collector.on_outcome(outcome(0, 0, episode="train_000099"))
    record = collector.on_episode(event(EpisodeState.ENDED, 0, SUCCESS), 1.0, 1.0)
    assert (record.t_context, record.steps_sent) == ([], 0)
