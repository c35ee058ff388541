"""A job over the whole graph in lockstep, in which every chunk is made while one runs."""

from __future__ import annotations

import pytest
from whole_graph import Run, make_bundle

from tmrl_ros.analysis.one_bag import read_bag
from tmrl_ros.core.types import ChunkResult, ChunkSource
from tmrl_ros.data.assembler import assemble
from tmrl_ros.data.bag_reader import bag_folders, read_episode

OVERLAP = 4


@pytest.fixture(scope="module")
def job(tmp_path_factory, domain_id):
    folder = tmp_path_factory.mktemp("overlap")
    make_bundle(folder / "lift")
    run = Run(
        folder / "session",
        [
            f"session.dir={folder / 'session'}",
            f"session.domain_id={domain_id}",
            f"session.overlap_rows={OVERLAP}",
            f"task.bundle={folder / 'lift'}",
            *("task=lift", "reward=simulator", "recorder.cameras=none", "task.max_decisions=6"),
            *("method.warmup_episodes=1", "method.updates_per_decision=1", "method.batch_size=16"),
            *("session.evaluation_episodes=1", "session.train_episodes=2"),
            *("session.probe_episodes=0", "session.console=false"),
        ],
    )
    try:
        run.exit_code = run.wait()
        yield run
    finally:
        run.kill_everything()


@pytest.fixture(scope="module")
def episodes(job):
    assert job.exit_code == 0, job.output
    return [(read_bag(bag), read_episode(bag)) for bag in bag_folders(job.session)]


def test_simulated_time_waits_so_that_no_chunk_is_late(episodes):
    assert len(episodes) == 4
    for digest, record in episodes:
        periods, idle = digest.idle_periods()
        assert periods > OVERLAP and idle == 0, record.episode_id
        outcomes = {item.decision: item for item in record.outcomes if _is_policy(item)}
        for chunk in record.chunks:
            before = outcomes.get(chunk.decision - 1)
            went_on = before is not None and before.result is ChunkResult.EXECUTED
            assert chunk.committed_steps == (OVERLAP if went_on else 0)


def test_every_chunk_has_one_outcome_and_they_come_in_order(episodes):
    for _, record in episodes:
        ended = [item.decision for item in record.outcomes if _is_policy(item)]
        assert ended == [chunk.decision for chunk in record.chunks] == list(range(len(ended)))


def test_what_was_executed_is_learned_from(job, episodes):
    made = [assemble(record) for _, record in episodes if record.episode_id.startswith("train")]
    executed = [
        item
        for _, record in episodes
        for item in record.outcomes
        if _is_policy(item)
        and item.result is ChunkResult.EXECUTED
        and item.episode_id.startswith("train")
    ]
    assert sum(len(item.transitions) for item in made) == len(executed) > 0
    assert job.status["transitions"] == len(executed)


def _is_policy(item):
    return item.source is ChunkSource.POLICY
