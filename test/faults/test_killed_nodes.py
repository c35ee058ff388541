"""One node after the other is killed while a job runs. The job goes on, the arm does not."""

import pytest
from whole_graph import DECISIONS, is_readable, moves_after_last_outcome, moves_while_latched

# Whose death ends the running episode, and what the episode's end says about it.
ABORTS = {
    "policy_server": "SILENT policy_server: no chunk for decision",
    "safety_supervisor": "START",
    "sim_franka": "",  # the stop latches, or the scene is not reset, whichever is noticed first
}
NODES = ["learner", "perception", *ABORTS, "reward", "episode_manager"]
EPISODES = 9


@pytest.fixture(scope="module")
def job(start):
    """A job in which every node but the session was killed once, each in another episode."""
    run = start(f"session.train_episodes={EPISODES}", f"task.max_decisions={DECISIONS}")
    run.victims = {}
    after = []
    for node in NODES:
        after.append(run.until_running(after=after))
        run.victims[node] = after[-1]
        run.kill(node)
    run.exit_code = run.wait()
    return run


def test_the_job_ends_well(job):
    assert job.exit_code == 0, job.output
    assert f"Report: {job.session / 'report.html'}" in job.output
    assert job.orphans == []
    indices = [record.index for record in job.ended()]
    assert indices == list(range(EPISODES))
    assert job.report["episodes"] == EPISODES
    assert job.report["success_after"]["n"] == 1


@pytest.mark.parametrize("node", NODES)
def test_a_dead_node_is_named_and_started_again(job, node):
    assert f"{node} died (exit code 137) and is started again in 0.5 s" in job.output


def test_a_dead_learner_costs_no_episode(job):
    assert job.victims["learner"] not in job.aborted
    said = job.log("learner")
    assert "Rebuilt the replay from" in said or "was read from its bag" in said


@pytest.mark.parametrize(("node", "reason"), ABORTS.items())
def test_the_episode_of_a_dead_node_is_aborted_and_repeated(job, node, reason):
    episode = job.victims[node]
    assert job.aborted[episode][0].startswith(reason), job.aborted
    assert any(row["episode_id"] == episode for row in job.report["aborted"])
    assert (job.session / "episodes" / f"{episode}.aborted-1").is_dir()


def test_the_arm_follows_nothing_while_the_stop_is_latched(job):
    for bag in job.every_bag():
        assert moves_while_latched(bag) == 0, bag.name


def test_the_arm_holds_when_the_policy_has_died(job):
    episode = job.victims["policy_server"]
    assert moves_after_last_outcome(job.session / "episodes" / f"{episode}.aborted-1") == 0


def test_aborted_episodes_are_not_learned_from(job):
    """The learner has every row of the others that a bag has.

    It may hear of the new reward before the recorder does, and so know a few estimates more. How
    many decisions went by without an estimate depends on how long the new one took to start.
    """
    learnable = job.learnable()
    assert len(learnable) == EPISODES
    without_estimate = sum(episode.dropped["reward"] for episode in learnable)
    more = job.status["transitions"] - job.rows()
    assert 0 <= more <= without_estimate
    dropped = sum(episode.dropped.total() for episode in learnable)
    assert job.rows() + dropped > DECISIONS * (EPISODES - 1)
    assert job.rows() > DECISIONS * EPISODES // 2


def test_every_episode_has_one_readable_bag(job):
    counted = {record.episode_id for record in job.records if not record.aborted}
    assert set(job.bags) == counted
    assert all(is_readable(bag) for bag in job.every_bag())
