from dataclasses import replace

import numpy as np
import pytest
from story import AWAY, HOME, NAME, Story, outcome

from tmrl_ros.core.types import ChunkResult, ChunkSource, EpisodeOutcome, EpisodeState

RESETTING, READY, RUNNING, ENDED = list(EpisodeState)[1:]
SKIPPED, REJECTED, ABORTED = ChunkResult.SKIPPED, ChunkResult.REJECTED, ChunkResult.ABORTED


def test_arm_goes_home_before_the_scene_is_reset():
    story = Story()
    story.robot(AWAY)
    assert len(story.moves) == 1 and not story.scenes
    story.robot(HOME)
    assert not story.scenes, "the way home has no outcome yet"
    story.piece_done()
    story.robot(HOME)
    assert [scene.seed for scene in story.scenes] == [11]
    story.scene()
    assert story.states == [RESETTING, READY, RUNNING]


def test_way_home_is_measured_after_its_end_only():
    story = Story()
    story.robot(AWAY)
    before_ns = story.stamp_ns
    story.stamp_ns += 1_000_000_000
    story.piece_done()
    story.stamp_ns = before_ns
    story.robot(HOME)
    assert not story.scenes
    story.robot(HOME, later_ns=2_000_000_000)
    assert len(story.scenes) == 1


def test_success_ends_the_episode_after_its_last_chunk():
    story = Story().start_running()
    story.decide(0)
    story.decide(1)
    story.reward(2, success=True)
    assert story.last.state == RUNNING
    story.outcome(2, result=SKIPPED)
    assert (story.last.state, story.last.outcome) == (ENDED, EpisodeOutcome.SUCCESS)
    assert story.last.decisions == 2
    assert story.last.labelled_by == "reward"
    # 50 ms to the first state, 3 s for the scene, 3 times 0.4 s of acting
    assert story.last.robot_seconds == pytest.approx(0.05 + 1.2 + 3.0)


def test_order_of_reward_and_outcome_does_not_matter():
    story = Story().start_running()
    story.outcome(0, result=SKIPPED)
    assert story.last.state == RUNNING
    story.reward(0, success=True)
    assert (story.last.outcome, story.last.decisions) == (EpisodeOutcome.SUCCESS, 0)


def test_failure_ends_the_episode():
    story = Story().start_running()
    story.reward(0, failure=True)
    story.outcome(0, result=SKIPPED)
    assert story.last.outcome == EpisodeOutcome.FAILURE


def test_late_success_counts_when_the_chunk_under_way_has_ended():
    story = Story().start_running()
    story.outcome(0)
    story.reward(0, success=True)
    assert story.last.state == RUNNING
    story.outcome(1)
    assert (story.last.outcome, story.last.decisions) == (EpisodeOutcome.SUCCESS, 2)


def test_timeout_waits_for_the_word_on_the_last_observation():
    story = Story().start_running()
    for decision in range(3):
        story.decide(decision)
    story.outcome(3, result=SKIPPED)
    assert story.last.state == RUNNING
    story.reward(3)
    assert (story.last.outcome, story.last.decisions) == (EpisodeOutcome.TIMEOUT, 3)


def test_success_in_the_last_observation_is_a_success():
    story = Story().start_running()
    for decision in range(3):
        story.decide(decision)
    story.reward(3, success=True)
    story.outcome(3, result=SKIPPED)
    assert story.last.outcome == EpisodeOutcome.SUCCESS


def test_unknown_last_reward_is_not_taken_for_a_failure():
    story = Story().start_running()
    for decision in range(3):
        story.decide(decision)
    story.reward(3, valid=False, error="no ground truth")
    story.outcome(3, result=SKIPPED)
    assert story.last.outcome == EpisodeOutcome.ABORTED
    assert "no ground truth" in story.last.reason


def test_unknown_reward_on_the_way_does_not_end_the_episode():
    story = Story().start_running()
    story.reward(0, valid=False, success=True)
    story.outcome(0)
    assert story.last.state == RUNNING


def test_rejected_chunk_counts_as_a_decision_and_the_episode_goes_on():
    story = Story().start_running()
    story.outcome(0, result=REJECTED, reason="BUSY")
    story.decide(1)
    assert story.last.state == RUNNING


def test_stopped_chunk_aborts_with_its_reason():
    story = Story().start_running()
    story.outcome(0, result=ABORTED, reason="REFLEX")
    assert (story.last.outcome, story.last.reason) == (EpisodeOutcome.ABORTED, "REFLEX")


def test_a_stop_the_policy_brought_about_is_its_failure_and_not_tried_again():
    story = Story().start_running()
    story.outcome(0, result=ABORTED, reason="FORCE")
    assert (story.last.outcome, story.last.reason) == (EpisodeOutcome.FAILURE, "FORCE")


@pytest.mark.parametrize("running", [False, True])
def test_latched_stop_aborts_at_once(running):
    story = Story()
    if running:
        story.start_running()
    story.take(story.machine.on_stop("OPERATOR_STOP"))
    assert (story.last.outcome, story.last.reason) == (EpisodeOutcome.ABORTED, "OPERATOR_STOP")
    assert story.machine.ended


def test_skipped_chunk_without_an_end_aborts():
    story = Story().start_running()
    story.reward(0)
    story.outcome(0, result=SKIPPED)
    assert story.last.outcome == EpisodeOutcome.ABORTED
    assert "policy_server" in story.last.reason


def running_until(*events):
    story = Story().start_running()
    story.decide(0)
    for event in events:
        event(story)
    return story


@pytest.mark.parametrize(
    ("story", "party"),
    [
        (lambda: running_until(), "perception"),
        (lambda: running_until(lambda s: s.machine.on_observation()), "policy_server"),
        (
            lambda: running_until(
                lambda s: s.machine.on_observation(), lambda s: s.machine.on_chunk(NAME, 1)
            ),
            "safety_supervisor",
        ),
        (lambda: running_until(lambda s: s.outcome(1, result=SKIPPED)), "reward"),
    ],
)
def test_silence_aborts_and_is_named(story, party):
    told = story()
    told.wait(9.9)
    assert told.last.state == RUNNING
    told.wait(0.2)
    assert told.last.outcome == EpisodeOutcome.ABORTED
    assert f"SILENT {party}" in told.last.reason


def test_silence_while_resetting_is_named_too():
    robot = Story()
    robot.wait(11)
    assert "SILENT robot: no robot/state" in robot.last.reason
    supervisor = Story()
    supervisor.robot(AWAY)
    supervisor.wait(11)
    assert "SILENT safety_supervisor" in supervisor.last.reason
    scene = Story()
    scene.robot(HOME)
    scene.wait(29)
    assert scene.last.state == RESETTING
    scene.wait(2)
    assert "scene was not reset" in scene.last.reason


def test_every_step_gives_the_others_new_time():
    story = Story().start_running()
    for decision in range(3):
        story.wait(8)
        story.decide(decision)
    assert story.last.state == RUNNING


def test_refused_way_home_is_tried_again_from_where_the_arm_is():
    story = Story()
    story.robot(AWAY)
    story.piece_done(result=REJECTED, reason="BUSY")
    story.robot(AWAY)
    assert len(story.moves) == 1, "not at once"
    story.wait(0.3)
    story.robot(AWAY)
    assert [chunk.sequence for chunk in story.moves] == [100, 101]


def test_way_home_that_is_always_refused_aborts():
    story = Story()
    for _ in range(20):
        story.robot(AWAY)
        story.piece_done(result=REJECTED, reason="BUSY")
        story.wait(0.3)
    assert story.last.reason == "RESET_REJECTED: BUSY"


def test_arm_that_never_arrives_aborts():
    story = Story()
    for _ in range(20):
        story.robot(AWAY)
        story.piece_done()
    assert story.last.outcome == EpisodeOutcome.ABORTED
    assert story.last.reason.startswith("NOT_HOME: 0.")


def test_outcomes_of_others_are_ignored():
    story = Story()
    story.robot(AWAY)
    story.piece_done(sequence=7)
    story.piece_done(episode="train_000002")
    story.robot(HOME)
    assert not story.scenes
    story.piece_done()
    story.robot(HOME)
    story.scene()
    story.outcome(0, episode="train_000002", result=ABORTED)
    story.reward(0, episode="train_000002", success=True)
    assert story.last.state == RUNNING


def test_scene_that_cannot_be_reset_aborts():
    story = Story()
    story.robot()
    story.scene(False, "the arm is in the way")
    assert story.last.reason == "SCENE_NOT_RESET: the arm is in the way"


def test_operator_overrules_the_reward():
    story = Story().start_running()
    story.reward(0, failure=True)
    taken, _ = story.machine.on_label(EpisodeOutcome.SUCCESS, "anna", story.now_s)
    assert taken
    story.outcome(0, result=SKIPPED)
    assert (story.last.outcome, story.last.labelled_by) == (EpisodeOutcome.SUCCESS, "anna")


def test_operators_word_holds_even_when_the_others_are_silent():
    story = Story().start_running()
    story.machine.on_label(EpisodeOutcome.FAILURE, "anna", story.now_s)
    story.wait(11)
    assert (story.last.outcome, story.last.labelled_by) == (EpisodeOutcome.FAILURE, "anna")


def test_operator_can_abort_while_resetting_but_not_judge():
    story = Story()
    assert not story.machine.on_label(EpisodeOutcome.SUCCESS, "anna", story.now_s)[0]
    assert story.machine.on_label(EpisodeOutcome.ABORTED, "anna", story.now_s)[0]
    story.wait(0.0)
    assert (story.last.outcome, story.last.reason) == (EpisodeOutcome.ABORTED, "OPERATOR")


def test_nothing_happens_after_the_end():
    story = Story().start_running()
    story.take(story.machine.on_stop("FORCE"))
    count = len(story.announced)
    story.decide(0)
    story.take(story.machine.on_stop("FORCE"))
    story.wait(100)
    assert len(story.announced) == count
    assert not story.machine.on_label(EpisodeOutcome.SUCCESS, "anna", story.now_s)[0]


def test_late_answers_to_an_earlier_attempt_end_nothing():
    """A repeated episode has the name and the numbers of its first attempt."""
    story = Story().start_running()
    before_ns = story.machine.snapshot().stamp_ns - 1_000_000_000
    story.reward(0, success=True, stamp_ns=before_ns)
    story.outcome(0, result=SKIPPED, age_s=3.8)
    assert story.last.state == EpisodeState.RUNNING
    for decision in range(3):
        story.decide(decision)
    story.reward(3)
    story.outcome(3, result=SKIPPED)
    assert (story.last.outcome, story.last.decisions) == (EpisodeOutcome.TIMEOUT, 3)


def test_a_released_button_makes_the_episode_wait_for_as_long_as_it_takes():
    story = Story().start_running()
    story.decide(0)
    for _ in range(10):
        story.now_s += 5.0
        story.machine.on_hold_released(story.now_s)
        story.wait(0.0)
    assert story.last.state == RUNNING
    story.wait(11.0)
    assert story.last.outcome == EpisodeOutcome.ABORTED, "silence is silence again after it"


@pytest.mark.parametrize("result", [ABORTED, REJECTED])
def test_a_chunk_that_a_released_button_ended_is_a_decision_and_nothing_more(result):
    story = Story().start_running()
    story.reward(0)
    story.outcome(0, result=result, reason="HOLD_RELEASED")
    assert story.last.state == RUNNING
    story.decide(1)
    story.reward(2, success=True)
    story.outcome(2, result=SKIPPED)
    assert (story.last.outcome, story.last.decisions) == (EpisodeOutcome.SUCCESS, 2)


@pytest.mark.parametrize("result", [ABORTED, REJECTED])
def test_a_way_home_that_a_released_button_ended_is_planned_anew_and_not_counted(result):
    story = Story()
    for number in range(12):
        story.robot(AWAY)
        assert len(story.moves) == number + 1
        story.piece_done(result=result, reason="HOLD_RELEASED")
    story.robot(HOME)
    assert len(story.scenes) == 1


@pytest.mark.parametrize("who", [ChunkSource.POLICY, ChunkSource.HUMAN])
@pytest.mark.parametrize("first", ["state", "outcome"])
def test_a_person_who_presses_too_hard_is_no_failure_of_the_policy(who, first):
    story = Story().start_running()
    story.decide(0)
    story.machine.on_chunk(NAME, 1)
    for word in (first, "state", "outcome"):
        if word == "state":
            story.take(story.machine.on_stop("FORCE"))
        else:
            done = outcome(1, story.stamp_ns, result=ABORTED, reason="FORCE")
            done = replace(done, sources=np.array([ChunkSource.POLICY, who], np.uint8))
            story.take(story.machine.on_outcome(done, story.now_s))
    failed = who is ChunkSource.POLICY
    expected = EpisodeOutcome.FAILURE if failed else EpisodeOutcome.ABORTED
    assert (story.last.outcome, story.last.reason) == (expected, "FORCE")


def test_a_stop_whose_chunk_is_never_reported_ends_the_episode_all_the_same():
    story = Story().start_running()
    story.machine.on_chunk(NAME, 0)
    story.take(story.machine.on_stop("FORCE"))
    story.wait(0.1)
    assert story.last.state == RUNNING
    story.wait(1.0)
    assert story.last.outcome == EpisodeOutcome.FAILURE


def test_a_chunk_that_came_too_late_for_a_stop_does_not_hide_it():
    story = Story().start_running()
    story.machine.on_chunk(NAME, 0)
    story.take(story.machine.on_stop("FORCE"))
    story.outcome(0, result=REJECTED, reason="LATCHED")
    assert story.last.outcome == EpisodeOutcome.FAILURE


def test_a_person_who_holds_the_arm_on_its_way_home_is_waited_for():
    story = Story()
    for _ in range(12):
        story.robot(AWAY)
        number = story.machine.last_piece
        done = outcome(0, story.stamp_ns, source=ChunkSource.RESET, sequence=number)
        done = replace(done, sources=np.full(8, ChunkSource.HUMAN, np.uint8))
        story.take(story.machine.on_outcome(done, story.now_s))
    assert story.last.state == RESETTING
    story.robot(HOME)
    assert len(story.scenes) == 1


def test_a_stop_on_the_way_home_aborts_also_where_a_person_drove():
    story = Story()
    story.robot(AWAY)
    number = story.machine.last_piece
    done = outcome(
        0,
        story.stamp_ns,
        source=ChunkSource.RESET,
        sequence=number,
        result=ABORTED,
        reason="OPERATOR_STOP",
    )
    done = replace(done, sources=np.array([ChunkSource.HUMAN], np.uint8))
    story.take(story.machine.on_outcome(done, story.now_s))
    assert (story.last.outcome, story.last.reason) == (EpisodeOutcome.ABORTED, "OPERATOR_STOP")


def answered(story, decision):
    """The policy's answer is known, and the supervisor has not said what became of it."""
    story.machine.on_chunk(NAME, decision)


def test_success_that_is_seen_while_a_chunk_runs_ends_the_episode_when_that_has_ended():
    story = Story().start_running()
    story.decide(0)
    answered(story, 1)
    story.reward(2, success=True)
    answered(story, 2)  # features only
    assert story.last.state == RUNNING
    story.outcome(1)
    assert story.last.state == RUNNING, "the answer to the last observation has no outcome yet"
    story.outcome(2, result=SKIPPED)
    assert (story.last.state, story.last.outcome) == (ENDED, EpisodeOutcome.SUCCESS)
    assert story.last.decisions == 2


def test_a_label_ends_the_episode_with_the_chunk_that_was_made_ahead():
    story = Story().start_running()
    answered(story, 0)
    answered(story, 1)
    assert story.machine.on_label(EpisodeOutcome.FAILURE, "operator", story.now_s)[0]
    story.outcome(0)
    assert story.last.state == RUNNING, "the arm still moves"
    story.outcome(1)
    assert (story.last.outcome, story.last.decisions) == (EpisodeOutcome.FAILURE, 2)


def test_a_fault_of_the_chunk_made_ahead_is_not_taken_for_one_of_the_chunk_before():
    story = Story().start_running()
    answered(story, 0)
    answered(story, 1)
    story.take(story.machine.on_stop("START_OFFSET"))
    story.outcome(0)
    assert story.last.state == RUNNING
    story.outcome(1, result=REJECTED, reason="START_OFFSET")
    assert (story.last.outcome, story.last.reason) == (EpisodeOutcome.FAILURE, "START_OFFSET")
    assert story.last.decisions == 2


def test_a_stop_in_the_overlap_ends_the_episode_with_the_chunk_that_ran():
    story = Story().start_running()
    answered(story, 0)
    answered(story, 1)
    story.take(story.machine.on_stop("FORCE"))
    story.outcome(0, result=ABORTED, reason="FORCE")
    assert (story.last.outcome, story.last.reason) == (EpisodeOutcome.FAILURE, "FORCE")
    assert story.last.decisions == 1
