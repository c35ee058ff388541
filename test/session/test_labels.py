import episode_events
import pytest

from tmrl_ros.core.types import EpisodeOutcome, EpisodeState
from tmrl_ros.session.labels import Labels
from tmrl_ros.session.recorder_view import recorder_fault

SUCCESS, FAILURE = EpisodeOutcome.SUCCESS, EpisodeOutcome.FAILURE


def event(index, state, outcome=EpisodeOutcome.NONE):
    return episode_events.event(f"train_{index:06d}", state, outcome, index=index)


def names(events):
    return [(e.episode_id, e.state, e.outcome) for e in events]


def ended(labels, index, outcome=FAILURE):
    return labels.events(event(index, EpisodeState.ENDED, outcome))


def test_latest_ended_episode_can_be_relabelled():
    labels = Labels()
    ended(labels, 0)
    taken, text, events = labels.label("", SUCCESS, "anna", 0.0)
    assert taken and "train_000000 is now SUCCESS" in text
    assert (events[0].outcome, events[0].labelled_by) == (SUCCESS, "anna")


def test_label_during_the_next_reset_leaves_the_current_state_as_the_newest():
    labels = Labels()
    ended(labels, 0)
    labels.events(event(1, EpisodeState.RESETTING))
    events = labels.label("train_000000", SUCCESS, "anna", 0.0)[2]
    assert names(events)[0] == ("train_000000", EpisodeState.ENDED, SUCCESS)
    assert names(events)[1][:2] == ("train_000001", EpisodeState.RESETTING)


def test_label_while_another_runs_is_kept_back_until_that_has_ended():
    labels = Labels()
    ended(labels, 0)
    labels.events(event(1, EpisodeState.RUNNING))
    taken, _, events = labels.label("train_000000", SUCCESS, "anna", 0.0)
    assert taken and events == []
    out = ended(labels, 1)
    assert [e.episode_id for e in out] == ["train_000001", "train_000000"]
    assert out[1].outcome == SUCCESS
    assert len(ended(labels, 2)) == 1


def test_unknown_episode_is_refused():
    taken, text, events = Labels().label("train_000009", SUCCESS, "anna", 0.0)
    assert not taken and "train_000009" in text and events == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"ok": true, "message": "recording"}', ""),
        ('{"ok": false, "message": "only 12 MB are free."}', "only 12 MB are free"),
        ('{"ok": false}', "it gives no reason"),
    ],
)
def test_recorder_is_believed(text, fault):
    assert recorder_fault(text) == fault


@pytest.mark.parametrize("text", ["", "[]", "{}", "nonsense", "3"])
def test_recorder_that_cannot_be_understood_cannot_record(text):
    assert "cannot be read" in recorder_fault(text)


@pytest.mark.parametrize("outcome", [0, 5, 255])
def test_outcome_that_is_none_is_refused(outcome):
    labels = Labels()
    ended(labels, 0)
    taken, text, events = labels.label("train_000000", outcome, "anna", 0.0)
    assert not taken and events == []
    assert text == f"Outcome {outcome} is not one of 1 to 4."
