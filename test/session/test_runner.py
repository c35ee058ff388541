import pytest
from story import DOWN, HOME, PERIOD_NS, make_homing, outcome, reward, sample

from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import ChunkResult, EpisodeOutcome, EpisodeState, Phase
from tmrl_ros.session.commands import Announce, AskScene, ResetStop, Say
from tmrl_ros.session.gates import Gates, GateSettings, SafetyView, World
from tmrl_ros.session.runner import (
    MAX_REPEATS,
    PUT_BACK,
    Goal,
    GoalRunner,
    RunSettings,
    prompt_refusal,
    run_settings,
)

REAL = ("robot=franka_fr3", "reward=learned", "safety=panda_table", "cameras=sim_two")
SUCCESS, FAILURE, TIMEOUT, ABORTED = list(EpisodeOutcome)[1:]
assert len(DOWN) == 4


class Show:
    """A runner in a world where everything works, unless told otherwise."""

    def __init__(self, *, operator=True, lockstep=True, lag=1, gates=None, person=False, **goal):
        values = {
            "phase": Phase.TRAIN,
            "episodes": 3,
            "start_index": 0,
            "seed": 1,
            "method": "tmrl",
            "learn": True,
            "deterministic": False,
        }
        self.world = World(
            missing=(),
            stamp_ns=0,
            safety=SafetyView(latched=False),
            learner_ready=True,
        )
        self.gates = gates or Gates(
            GateSettings(
                simulated_operator=operator, lockstep=lockstep, learner_lag=lag, settle_s=0.0
            )
        )
        self.runner = GoalRunner(
            Goal(**{**values, **goal}),
            RunSettings(
                task="lift",
                prompt="lift",
                max_decisions=2,
                timeout_s=10.0,
                scene_timeout_s=10.0,
                make_homing=make_homing,
                person_resets=person,
            ),
            self.gates,
            self.world,
        )
        self.now_s = 0.0
        self.events, self.said, self.resets = [], [], 0

    def take(self, commands):
        for command in commands:
            if isinstance(command, Announce):
                self.events.append(command.episode)
            elif isinstance(command, Say):
                self.said.append(command.text)
            elif isinstance(command, ResetStop):
                self.resets += 1
            elif isinstance(command, AskScene):
                self.take(self.runner.on_scene(command.episode_id, True, "", self.now_s))

    def wait(self, seconds=0.5):
        self.now_s += seconds
        self.take(self.runner.on_time(self.now_s))

    @property
    def name(self):
        return self.runner.running.spec.episode_id if self.runner.running else None

    @property
    def ended(self):
        return [(e.episode_id, e.outcome) for e in self.events if e.state == EpisodeState.ENDED]

    def robot(self):
        self.world.stamp_ns += PERIOD_NS
        at_ns = self.world.stamp_ns
        self.take(self.runner.on_robot(at_ns, lambda: sample(at_ns, HOME), self.now_s))

    def play(self, how=SUCCESS):
        """Play one episode that must be under way."""
        name = self.name
        self.robot()
        if how == ABORTED:
            self.latch("REFLEX")
            self.world.safety = SafetyView(latched=False)
            return
        good, bad = how == SUCCESS, how == FAILURE
        said = reward(0, self.world.stamp_ns, success=good, failure=bad, episode=name)
        self.take(self.runner.on_reward(said, self.now_s))
        self.world.stamp_ns += 8 * PERIOD_NS
        at = outcome(0, self.world.stamp_ns, result=ChunkResult.SKIPPED, episode=name)
        self.take(self.runner.on_outcome(at, self.now_s))

    def latch(self, code, *causes):
        self.world.safety = SafetyView(True, code, "Look.", causes)
        self.take(self.runner.on_safety(self.now_s))

    def learned(self, name):
        self.world.trained_through = name
        self.take(self.runner.on_time(self.now_s))


def test_episodes_follow_each_other_without_waiting():
    show = Show(lag=9)
    show.wait()
    for how in (SUCCESS, FAILURE, SUCCESS):
        show.play(how)
    assert show.ended == [
        ("train_000000", SUCCESS),
        ("train_000001", FAILURE),
        ("train_000002", SUCCESS),
    ]
    result = show.runner.result
    assert (result.success, result.episodes, result.successes) == (True, 3, 2)
    assert result.robot_seconds == pytest.approx(3 * 0.45)


def test_goal_starts_at_its_index():
    show = Show(start_index=7, episodes=1)
    show.wait()
    assert show.name == "train_000007"


def test_nothing_starts_before_everybody_is_there_and_who_is_missing_is_said():
    show = Show()
    show.world.missing = ("perception", "reward")
    show.wait()
    assert show.name is None
    assert "perception, reward" in show.said[0]
    assert "perception, reward" in show.runner.waiting
    show.world.missing = ()
    show.wait()
    assert show.name == "train_000000" and show.runner.waiting == ""


def test_goal_fails_when_somebody_never_comes():
    show = Show()
    show.world.missing = ("reward",)
    show.wait()
    show.wait(121)
    assert not show.runner.result.success
    assert "reward" in show.runner.result.message


def test_same_sentence_is_said_again_only_after_a_while():
    show = Show()
    show.world.missing = ("reward",)
    for _ in range(18):
        show.wait(0.5)
    assert len(show.said) == 1
    for _ in range(18):
        show.wait(0.5)
    assert len(show.said) == 2


def test_no_episode_starts_while_the_recorder_cannot_record():
    show = Show()
    show.world.recorder_fault = "only 12 MB are free"
    show.wait()
    assert show.name is None
    show.wait(31)
    assert "only 12 MB are free" in show.runner.result.message


def test_first_latch_is_reset_by_the_simulated_operator():
    show = Show()
    show.world.safety = SafetyView(True, "START")
    show.wait(0.01)
    assert show.resets == 1
    for _ in range(10):
        show.wait(0.05)
    assert show.resets == 1, "the supervisor gets time to answer"
    show.world.safety = SafetyView(False)
    show.wait()
    assert show.name == "train_000000"
    assert show.gates.resets == 0, "the first one is not counted"


def test_latch_aborts_is_reset_and_the_episode_is_repeated():
    show = Show()
    show.wait()
    show.robot()
    show.latch("REFLEX", "FORCE")
    assert show.ended == [("train_000000", ABORTED)]
    show.wait(1)
    assert show.resets == 0, "its cause is still present"
    show.latch("REFLEX")
    assert show.resets == 1
    show.world.safety = SafetyView(False)
    show.wait(1)
    assert show.name == "train_000000"
    show.play()
    assert show.ended[-1] == ("train_000000", SUCCESS)


def test_cause_that_stays_ends_the_goal():
    show = Show()
    show.latch("REFLEX", "REFLEX")
    show.wait(1)
    show.wait(61)
    assert "REFLEX" in show.runner.result.message


def test_person_is_waited_for_without_end_and_told():
    show = Show(operator=False)
    show.latch("START")
    show.wait(1)
    show.wait(10_000)
    assert show.runner.result is None and show.resets == 0
    assert "reset" in show.said[0] and "START" in show.said[0]
    show.world.safety = SafetyView(False)
    show.wait()
    assert show.name == "train_000000"


def test_resets_of_a_session_are_bounded_over_all_goals():
    gates = Gates(
        GateSettings(
            simulated_operator=True, lockstep=True, learner_lag=1, max_resets=3, settle_s=0.0
        )
    )
    results = []
    for _ in range(2):
        show = Show(gates=gates, episodes=100)
        show.now_s = 1000.0 * len(results)
        while show.runner.result is None and show.resets < 10:
            show.latch("REFLEX")
            show.wait(2)
            show.world.safety = SafetyView(False)
            show.wait(2)
            if show.name and len(results) == 0 and show.resets == 2:
                break
        results.append(show.resets)
    assert results == [2, 1]
    assert "after 3 resets" in show.runner.result.message


def test_episode_that_is_aborted_again_and_again_ends_the_goal():
    show = Show()
    for _ in range(MAX_REPEATS + 1):
        show.wait(2)
        show.play(ABORTED)
    assert not show.runner.result.success
    assert "train_000000 was aborted 4 times in a row" in show.runner.result.message
    assert "REFLEX" in show.runner.result.message


def test_aborts_in_between_do_not_add_up():
    show = Show(lag=9)
    for _ in range(3):
        for how in (ABORTED, ABORTED, SUCCESS):
            show.wait(2)
            show.play(how)
    assert show.runner.result.success
    assert show.runner.result.episodes == 3


def test_training_waits_for_the_learner_as_far_as_the_lag_says():
    show = Show(lag=1, episodes=9)
    show.wait()
    show.play()
    assert show.name == "train_000001"
    show.play()
    assert show.name is None
    assert "train_000000" in show.runner.waiting
    show.learned("train_000000")
    assert show.name == "train_000002"


def test_learner_that_does_not_come_after_is_left_behind_with_a_warning():
    show = Show(lag=0)
    show.wait()
    show.play()
    show.wait(1)
    show.wait(121)
    assert show.name == "train_000001"
    assert "going on without it" in show.said[-1]


@pytest.mark.parametrize(
    "changes", [{"lockstep": False}, {"learn": False}, {"phase": Phase.EVALUATE_BEFORE}]
)
def test_nothing_else_waits_for_the_learner(changes):
    show = Show(lag=0, **changes)
    show.wait()
    show.play()
    assert show.name is not None


def test_aborted_episode_is_not_waited_for():
    show = Show(lag=0)
    show.wait()
    show.play(ABORTED)
    show.wait(2)
    assert show.name == "train_000000"


def test_last_evaluation_waits_for_the_whole_training():
    training = Show(lag=1, episodes=1)
    training.wait()
    training.play()
    after = Show(gates=training.gates, phase=Phase.EVALUATE_AFTER, learn=False)
    after.wait()
    assert after.name is None
    after.learned("train_000000")
    assert after.name == "evaluate_after_000000"


def test_learner_that_reads_bags_is_waited_for():
    show = Show()
    show.world.learner_ready = False
    show.wait()
    assert show.name is None and "learner" in show.runner.waiting
    show.world.learner_ready = True
    show.wait()
    assert show.name is not None


def test_learner_that_learns_from_recordings_is_waited_for_as_long_as_it_gets_on():
    show = Show()
    show.world.learner_ready = False
    bound_s = show.gates.settings.learner_ready_s
    for owed in (4000, 3000, 2000, 1000):
        show.world.updates_owed = owed
        show.now_s += 0.9 * bound_s
        show.wait()
    assert show.name is None and show.runner.result is None
    assert "learns from what was recorded" in show.runner.waiting
    show.now_s += 1.1 * bound_s
    show.wait()
    assert not show.runner.result.success and "Gave up" in show.runner.result.message


def test_robot_time_is_a_budget_that_counts_aborted_episodes_too():
    show = Show(lag=9, episodes=100, max_robot_seconds=1.0)
    show.wait()
    show.play(ABORTED)
    for _ in range(3):
        show.wait(2)
        if show.name:
            show.play()
    assert show.runner.result.success
    assert "minutes is used up" in show.runner.result.message
    assert show.runner.result.robot_seconds == pytest.approx(0.05 + 3 * 0.45)


def test_training_stops_when_it_is_good_enough():
    show = Show(lag=99, episodes=100, stop_window=4, stop_success_rate=0.75)
    show.wait()
    played = 0
    for how in (FAILURE, FAILURE, SUCCESS, SUCCESS, SUCCESS, SUCCESS):
        if show.runner.result is None:
            show.play(how)
            played += 1
    assert played == 5
    assert show.runner.result.success


def test_cancelled_goal_aborts_its_episode_and_starts_none():
    show = Show()
    show.wait()
    show.robot()
    show.take(show.runner.cancel(show.now_s))
    assert show.ended == [("train_000000", ABORTED)]
    assert not show.runner.result.success
    show.wait(5)
    assert show.name is None


def test_relabelled_episode_counts_as_the_person_says():
    show = Show(lag=9, episodes=2)
    show.wait()
    show.play(FAILURE)
    show.runner.relabel("train_000000", SUCCESS)
    show.play(SUCCESS)
    assert show.runner.result.successes == 2


def test_pieces_of_the_way_home_never_share_a_number():
    show = Show(lag=9, episodes=5)
    show.wait()
    first = show.runner.running.last_piece
    show.play()
    assert show.runner.running.last_piece >= first


def test_a_person_s_text_is_told_from_the_next_episode_on():
    show = Show(phase=Phase.COLLECT, learn=False)
    show.wait()
    for text in ("lift the lime cube", ""):
        show.world.prompt = text  # while an episode runs, and for the next one
        show.play()
    told = {event.episode_id: event.prompt for event in show.events}
    assert list(told.values()) == ["lift", "lift the lime cube", "lift"]


@pytest.mark.parametrize("phase", [Phase.TRAIN, Phase.EVALUATE_BEFORE, Phase.EVALUATE_AFTER])
def test_what_is_learned_or_judged_keeps_its_text(phase):
    goal = Show(phase=phase).runner.goal
    assert "task.prompt=" in prompt_refusal("lift the lime cube", goal, "lift")
    assert prompt_refusal("lift the lime cube", None, "lift") == ""
    assert "201 letters" in prompt_refusal("x" * 201, None, "lift")


@pytest.mark.parametrize("person", [True, False])
def test_a_person_is_told_when_to_put_the_objects_back(person):
    show = Show(person=person)
    show.wait()
    assert show.runner.waits_for() == ""  # the arm is on its way home
    show.world.stamp_ns += PERIOD_NS
    at_ns = show.world.stamp_ns
    asked = show.runner.on_robot(at_ns, lambda: sample(at_ns, HOME), show.now_s)
    assert isinstance(asked[0], AskScene)
    assert show.runner.waits_for() == (PUT_BACK if person else "")
    show.take(asked)
    assert show.runner.waits_for() == ""


def test_a_person_has_longer_than_a_simulated_one():
    real = run_settings(load_config(REAL))
    assert real.person_resets and real.scene_timeout_s == 900.0
    simulated = run_settings(load_config())
    assert not simulated.person_resets and simulated.scene_timeout_s < 60.0
