"""A person's cut: what is written, what counts then, and what is refused."""

import json

import pytest
from test_report import write

from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.load import load_config, write_config
from tmrl_ros.core.types import EpisodeOutcome, Phase
from tmrl_ros.data.trims import TRIMS_FILE, read_trims
from tmrl_ros.session.records import load_records
from tmrl_ros.session.report import build_report
from tmrl_ros.session.trimming import trim_episode

SUCCESS, FAILURE, TIMEOUT, ABORTED = list(EpisodeOutcome)[1:]
NAME = "train_000001"


@pytest.fixture
def session(tmp_path):
    write_config(load_config(["task=lift", f"session.dir={tmp_path}"]), tmp_path / "config.yaml")
    for index in range(3):
        write(tmp_path, Phase.TRAIN, index, TIMEOUT, decisions=9, labelled_by="reward")
    return tmp_path


def known(session):
    found = next(record for record in load_records(session) if record.episode_id == NAME)
    return found.outcome, found.labelled_by, found.trimmed_to


def test_a_cut_counts_in_the_log_and_in_the_report_and_can_be_taken_back(session):
    whole = known(session)
    text = trim_episode(session, NAME, 5, outcome="success", by="ada")
    assert text == f"Episode {NAME} ends after 5 of 9 decisions, as success."
    assert known(session) == ("success", "ada", 5)
    report = build_report(session)
    assert report["success_training"]["rate"] == pytest.approx(1 / 3)
    assert report["trimmed"] == [
        {"episode_id": NAME, "kept": 5, "decisions": 9, "outcome": "success"}
    ]
    assert "5 of 9 decisions, success" in (session / "report.html").read_text()
    trim_episode(session, NAME, None, by="bob")
    assert known(session) == whole
    assert build_report(session)["trimmed"] == []
    lines = (session / TRIMS_FILE).read_text().splitlines()
    assert [json.loads(line)["by"] for line in lines] == ["ada", "bob"], "nothing is forgotten"


def test_without_an_outcome_it_ended_there_as_it_had_ended(session):
    assert trim_episode(session, NAME, 9).endswith("9 of 9 decisions, as timeout.")
    assert known(session) == ("timeout", "reward", 9)


def test_of_two_words_the_later_one_counts(session):
    write(session, Phase.TRAIN, 1, FAILURE, decisions=9, labelled_by="ada")
    trim_episode(session, NAME, 5, outcome="success", by="bob")
    assert known(session) == ("success", "bob", 5)
    write(session, Phase.TRAIN, 1, TIMEOUT, decisions=9, labelled_by="ada")
    assert known(session) == ("timeout", "ada", 5), "the cut stays"
    trim_episode(session, NAME, 4, outcome="success", by="bob")
    assert known(session) == ("success", "bob", 4)


def test_a_torn_line_is_no_cut(session):
    trim_episode(session, NAME, 5)
    with (session / TRIMS_FILE).open("a") as file:
        file.write('{"episode_id": "train_000002", "dec')
    trim_episode(session, "train_000000", 2)
    assert {name: trim.decisions for name, trim in read_trims(session).items()} == {
        NAME: 5,
        "train_000000": 2,
    }


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((NAME, 0, ""), "from 1 to 9"),
        ((NAME, 10, ""), "from 1 to 9"),
        ((NAME, 3, "aborted"), "'aborted' is no outcome of a cut"),
        (("train_000009", 3, ""), "no episode 'train_000009' that has ended"),
        (("evaluate_before_000000", 3, ""), "`tmrl label`"),
        (("train_000004", 3, ""), "it was aborted"),
        ((NAME, None, ""), "nothing to take back"),
    ],
)
def test_what_cannot_be_cut_is_refused_in_a_sentence(session, words, why):
    write(session, Phase.EVALUATE_BEFORE, 0, TIMEOUT)
    write(session, Phase.TRAIN, 4, ABORTED)
    name, decisions, outcome = words
    with pytest.raises(OperatorError, match=why):
        trim_episode(session, name, decisions, outcome=outcome)
    assert not (session / TRIMS_FILE).exists()
