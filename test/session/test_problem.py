from dataclasses import replace

import pytest
from episode_events import event
from story import make_spec

from tmrl_ros.core.types import Episode, EpisodeOutcome
from tmrl_ros.session.problem import LatestProblem

FORCE = "The hand felt 70 N. Look for a collision."


def ended(outcome, reason="", by=""):
    known = Episode.__dataclass_fields__
    spec = {name: value for name, value in vars(make_spec()).items() if name in known}
    return event(outcome=outcome, decisions=2, labelled_by=by, reason=reason, **spec)


def aborted(reason, by=""):
    return ended(EpisodeOutcome.ABORTED, reason, by)


def test_an_episode_that_ends_well_or_by_a_label_is_no_problem():
    problem = LatestProblem()
    problem.on_stop(True, "START", "Starts latched.", "10:00:00")
    problem.on_end(ended(EpisodeOutcome.SUCCESS, by="reward"), "10:00:01")
    problem.on_end(ended(EpisodeOutcome.TIMEOUT, by="reward"), "10:00:02")
    problem.on_end(ended(EpisodeOutcome.FAILURE, "anna", "anna"), "10:00:03")
    assert (problem.text, problem.at) == ("", "")


@pytest.mark.parametrize("stop_first", [True, False])
def test_a_stop_explains_the_episode_it_ended_whoever_speaks_first(stop_first):
    problem = LatestProblem()
    steps = [
        lambda: problem.on_stop(True, "FORCE", FORCE, "10:00:00"),
        lambda: problem.on_end(aborted("FORCE"), "10:00:00"),
    ]
    for step in steps if stop_first else reversed(steps):
        step()
    assert problem.text == (f"train_000003 was aborted: the software stop latched (FORCE). {FORCE}")
    problem.on_stop(True, "FORCE", "later words", "10:00:09")
    assert problem.at == "10:00:00", "it is said five times a second and counts once"


def test_a_later_stop_between_episodes_is_the_newest_problem():
    problem = LatestProblem()
    problem.on_stop(True, "FORCE", FORCE, "10:00:00")
    problem.on_end(aborted("FORCE"), "10:00:00")
    problem.on_stop(False, "", "", "10:00:05")
    problem.on_stop(True, "FORCE", "The hand felt 90 N.", "10:01:00")
    assert problem.text == "the software stop latched (FORCE). The hand felt 90 N."
    assert problem.at == "10:01:00"


def test_a_restarted_supervisor_hides_no_earlier_problem():
    problem = LatestProblem()
    problem.on_stop(True, "FORCE", FORCE, "10:00:00")
    problem.on_stop(True, "START", "Starts latched.", "10:00:30")
    assert FORCE in problem.text


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (
            aborted("SILENT perception: no observation for decision 3 within 8 s"),
            "was aborted: perception is silent, no observation for decision 3 within 8 s",
        ),
        (aborted("START"), "was aborted: the safety supervisor was started again"),
        (aborted("SCENE_NOT_RESET: a cube fell"), "the objects were not put back, a cube fell"),
        (aborted("CANCELLED"), "was aborted: the run was stopped"),
        (aborted("OPERATOR", "anna"), "was aborted: anna said so"),
        (aborted("ROBOT_SILENT"), "was aborted: the software stop latched (ROBOT_SILENT)"),
        (
            ended(EpisodeOutcome.FAILURE, "WORKSPACE"),
            "failed by what the policy asked for: the software stop latched (WORKSPACE)",
        ),
    ],
)
def test_every_reason_is_told_in_words(event, words):
    problem = LatestProblem()
    problem.on_end(event, "10:00:00")
    assert problem.text.endswith(words)
    assert problem.text.startswith("train_000003 ")


def test_another_episode_replaces_the_words_of_the_last_one():
    problem = LatestProblem()
    problem.on_end(aborted("OPERATOR", "anna"), "10:00:00")
    problem.on_end(replace(aborted("START"), episode_id="train_000004"), "10:00:10")
    assert problem.text == "train_000004 was aborted: the safety supervisor was started again"
