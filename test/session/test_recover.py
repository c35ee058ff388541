"""An episode whose end was recorded but not logged is neither lost nor run again."""

from dataclasses import replace

import pytest
from recorded import PERIOD_NS, episode, event, item, stamp_of

from tmrl_ros.core.types import Chunk, Episode, EpisodeOutcome, EpisodeState, Outcome, Phase
from tmrl_ros.data.bag_reader import read_episode
from tmrl_ros.data.episodes_log import EPISODES_FILE
from tmrl_ros.data.recording import Recording
from tmrl_ros.session.collector import Collector
from tmrl_ros.session.records import append_record, load_records
from tmrl_ros.session.recover import recover_records
from tmrl_ros.session.schedule import PhasePlan, next_goal

SUCCESS, ABORTED = EpisodeOutcome.SUCCESS, EpisodeOutcome.ABORTED
PLAN = [PhasePlan(Phase.TRAIN, 5, "tmrl", learn=True, deterministic=False)]


def story(index, result=SUCCESS, end_ns=0):
    """Messages of one episode with its right index and its own time of end."""
    for piece in episode(f"train_{index:06d}", 3, result):
        if isinstance(piece, Episode):
            piece = replace(piece, index=index)
            if piece.state is EpisodeState.ENDED:
                piece = replace(piece, stamp_ns=end_ns or stamp_of(4))
        yield piece


@pytest.fixture
def session(tmp_path):
    """A session whose recorder hears every story, and whose log only those that are `logged`."""
    recording = Recording(tmp_path, custom={}, linger_s=0.0)
    recording.start()
    collector = Collector()

    def play(pieces, *, logged):
        for piece in pieces:
            recording.put([item(piece)])
            if not logged:
                continue
            if isinstance(piece, Chunk):
                collector.on_chunk(piece, 0.0)
            elif isinstance(piece, Outcome):
                collector.on_outcome(piece)
            elif isinstance(piece, Episode):
                record = collector.on_episode(piece, 0.0, 60.0)
                if record is not None:
                    append_record(tmp_path, record, piece)

    yield tmp_path, play, recording
    recording.close()


def test_what_the_log_lacks_is_read_from_the_bag_and_not_run_again(session):
    folder, play, recording = session
    play(story(0), logged=True)
    play(story(1), logged=False)
    play([event("train_000002", EpisodeState.RESETTING)], logged=False)
    recording.close()
    assert next_goal(PLAN, load_records(folder), 0).start_index == 1

    assert recover_records(folder) == ["train_000001"]
    before, found = load_records(folder)
    assert (found.index, found.outcome, found.decisions) == (1, "success", 3)
    assert found.t_context == before.t_context == [0.25] * 3
    assert (found.steps_sent, found.steps_clipped) == (before.steps_sent, before.steps_clipped)
    assert len(found.latency_ms) == 4
    assert found.job_wall_s == before.job_wall_s == 60.0, "the clock of the job does not go back"
    assert next_goal(PLAN, load_records(folder), 0).start_index == 2

    log = (folder / EPISODES_FILE).read_bytes()
    assert recover_records(folder) == []
    assert (folder / EPISODES_FILE).read_bytes() == log


def test_an_aborted_attempt_counts_once_and_its_robot_time_is_not_forgotten(session):
    folder, play, recording = session
    play(story(0, ABORTED, end_ns=50 * PERIOD_NS), logged=True)
    recording.close()
    assert recover_records(folder) == []

    again = Recording(folder, custom={}, linger_s=0.0)
    again.start()
    for piece in story(0, ABORTED, end_ns=80 * PERIOD_NS):
        again.put([item(piece)])
    again.close()
    assert recover_records(folder) == ["train_000000"]
    assert [(r.outcome, r.attempt) for r in load_records(folder)] == [
        ("aborted", 0),
        ("aborted", 1),
    ]
    assert recover_records(folder) == []


def test_a_label_given_while_the_bag_was_open_comes_with_it(session):
    folder, play, recording = session
    pieces = list(story(0))
    label = replace(pieces[-1], outcome=EpisodeOutcome.FAILURE, reason="anna", labelled_by="anna")
    play([*pieces, label], logged=False)
    recording.close()
    assert recover_records(folder) == ["train_000000"]
    (record,) = load_records(folder)
    assert (record.outcome, record.labelled_by) == ("failure", "anna")
    assert read_episode(folder / "episodes" / "train_000000").ended.labelled_by == "anna"


def test_a_session_without_bags_or_with_a_damaged_one_is_left_alone(tmp_path):
    assert recover_records(tmp_path) == []
    bag = tmp_path / "episodes" / "train_000000"
    bag.mkdir(parents=True)
    (bag / "train_000000_0.mcap").write_bytes(b"no bag at all")
    assert recover_records(tmp_path) == []
    assert not (tmp_path / EPISODES_FILE).exists()
