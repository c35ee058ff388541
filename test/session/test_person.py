"""Episodes that begin when a person takes the arm."""

from story import Story, make_homing

from tmrl_ros.core.types import EpisodeOutcome, EpisodeState, Phase
from tmrl_ros.session.commands import Announce
from tmrl_ros.session.gates import Gates, GateSettings, SafetyView, World
from tmrl_ros.session.labels import Labels
from tmrl_ros.session.person import Grasp
from tmrl_ros.session.runner import (
    MAX_REPEATS,
    TAKE_THE_ARM,
    Goal,
    GoalRunner,
    RunSettings,
)

PERSON = {"by_person": True, "judged": False, "phase": Phase.COLLECT, "method": "person"}


def waiting() -> Story:
    story = Story(**PERSON)
    story.robot()
    story.scene()
    return story


def test_an_episode_waits_until_somebody_takes_the_arm():
    story = waiting()
    story.wait(10_000.0)
    assert story.last.state is EpisodeState.READY, "nobody hurries a person"
    story.take(story.machine.on_person(story.now_s))
    assert story.last.state is EpisodeState.RUNNING
    story.take(story.machine.on_person(story.now_s))
    assert story.states.count(EpisodeState.RUNNING) == 1


def test_an_episode_of_a_policy_waits_for_nobody():
    story = Story().start_running()
    story.take(story.machine.on_person(story.now_s))
    assert story.states.count(EpisodeState.RUNNING) == 1


def test_once_it_runs_the_graph_must_answer():
    story = waiting()
    story.take(story.machine.on_person(story.now_s))
    story.machine.on_observation()
    story.wait(11.0)
    assert story.last.reason == "SILENT demonstrator: no chunk for decision 0 within 10 s"


def test_without_a_judge_it_ends_by_a_person_s_word_or_its_time():
    story = waiting()
    story.take(story.machine.on_person(story.now_s))
    story.outcome(0)
    assert story.machine.on_label(EpisodeOutcome.SUCCESS, "anna", story.now_s)[0]
    story.outcome(1)
    assert (story.last.outcome, story.last.labelled_by) == (EpisodeOutcome.SUCCESS, "anna")
    story = waiting()
    story.take(story.machine.on_person(story.now_s))
    for decision in range(4):  # of 3, and the last observation
        story.outcome(decision)
    assert (story.last.outcome, story.last.decisions) == (EpisodeOutcome.TIMEOUT, 4)


def test_a_hand_that_never_let_go_takes_nothing():
    grasp = Grasp(0.3)
    assert grasp.taken(True, 0.0)
    assert not grasp.taken(True, 0.1)
    assert not grasp.taken(False, 0.2)
    assert grasp.taken(True, 0.3)
    assert grasp.taken(True, 5.0), "who was silent has let go"


def runner() -> GoalRunner:
    settings = RunSettings(
        task="lift",
        prompt="lift",
        max_decisions=3,
        timeout_s=10.0,
        scene_timeout_s=10.0,
        make_homing=make_homing,
        judged=False,
        by_person=True,
    )
    gates = GateSettings(simulated_operator=True, lockstep=False, learner_lag=1, settle_s=0.0)
    world = World(missing=(), stamp_ns=0, safety=SafetyView(latched=False))
    goal = Goal(Phase.COLLECT, 2, 0, 1, "person", False, False)
    return GoalRunner(goal, settings, Gates(gates), world)


def until_ready(made: GoalRunner, now_s: float) -> None:
    from story import PERIOD_NS, sample

    made.on_time(now_s)
    machine = made.running
    assert machine is not None
    stamp_ns = machine.snapshot().stamp_ns + PERIOD_NS
    made.on_robot(stamp_ns, lambda: sample(stamp_ns), now_s)
    made.on_scene(machine.spec.episode_id, True, "", now_s)


def test_what_is_thrown_away_is_run_again_as_often_as_somebody_likes():
    made = runner()
    names = []
    for number in range(2 * MAX_REPEATS + 2):
        now_s = float(number)
        until_ready(made, now_s)
        assert made.waits_for() == TAKE_THE_ARM
        assert made.running is not None
        names.append(made.running.spec.episode_id)
        made.running.on_label(EpisodeOutcome.ABORTED, "anna", now_s)
        ended = [c.episode for c in made.on_time(now_s) if isinstance(c, Announce)]
        assert [item.outcome for item in ended] == [EpisodeOutcome.ABORTED]
    assert set(names) == {"collect_000000"} and made.result is None


def test_a_stop_in_a_person_s_hand_does_not_end_the_job_but_silence_does():
    made = runner()
    for number in range(2 * MAX_REPEATS):
        until_ready(made, 100.0 * number)
        made.on_person(100.0 * number)
        made.world.safety = SafetyView(latched=True, code="OPERATOR_STOP")
        made.on_safety(100.0 * number)
        made.world.safety = SafetyView(latched=False)
        assert made.result is None
    for number in range(MAX_REPEATS + 1):
        now_s = 10_000.0 + 100.0 * number
        until_ready(made, now_s)
        made.on_person(now_s)
        made.on_time(now_s + 11.0)
    assert made.result is not None and "SILENT perception" in made.result.message


def test_a_word_while_the_next_one_waits_is_about_the_last_one():
    made = runner()
    labels = Labels()
    labels.begin(made)
    until_ready(made, 0.0)
    made.on_person(0.0)
    machine = made.running
    assert machine is not None
    machine.on_label(EpisodeOutcome.SUCCESS, "anna", 0.0)
    for command in made.on_time(20.0):
        if isinstance(command, Announce):
            labels.events(command.episode)
    until_ready(made, 1.0)
    assert made.running is not None
    labels.events(made.running.snapshot())
    taken, text, said = labels.label("", int(EpisodeOutcome.FAILURE), "anna", 1.0)
    assert taken and text == "Episode collect_000000 is now FAILURE."
    names = [(item.episode_id, item.state) for item in said]
    assert names == [
        ("collect_000000", EpisodeState.ENDED),
        ("collect_000001", EpisodeState.READY),
    ], "at once, and the one that waits is the newest again"
