import threading

import pytest
from cases import cases, image, question
from fake_reward_model import FakeModel
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrl_ros.rewards.attempt import Answer, Attempts, pick
from tmrl_ros.rewards.model import Calibration, Judgement, JudgementError
from tmrl_ros.rewards.stream import StreamJudge
from tmrl_ros.rewards.worker import Backlog, RewardWorker

RULE = Calibration(0.65, 2, 3)


class Newest(StreamJudge):
    """Takes the newest case first, as a remote model does."""

    in_order = False


class Desk:
    """A worker and what came of it."""

    def __init__(self, kind=StreamJudge, **settings):
        self.model = FakeModel()
        self.woken = threading.Semaphore(0)
        self.worker = RewardWorker(kind(self.model), self.woken.release, **settings)
        self.worker.start()

    def fetch(self, count):
        found = []
        while len(found) < count:
            assert self.woken.acquire(timeout=20.0), f"only {len(found)} answers"
            found += self.worker.answers()
        return found


@pytest.fixture
def desk():
    made = []

    def make(*args, **settings):
        made.append(Desk(*args, **settings))
        return made[-1]

    yield make
    for item in made:
        item.model.go.set()
        item.worker.close(10.0)
        assert not item.worker._thread.is_alive()


def decisions(answers):
    return [answer.case.question.decision for answer in answers]


def test_model_in_this_process_sees_every_frame_in_its_order(desk):
    at = desk()
    for case in [*cases(0.0, 0.2, 0.4), *cases(0.6, episode="train_000001")]:
        at.worker.ask(case)
    answers = at.fetch(4)
    assert decisions(answers) == [0, 1, 2, 0]
    assert at.model.seen == ["lift the cube", 0, 51, 102, "lift the cube", 153]
    assert [answer.judgement.progress for answer in answers] == [0.0, 0.2, 0.4, 0.6]


def test_newest_case_passes_those_that_wait_and_none_is_lost(desk):
    at = desk(Newest)
    at.model.go.clear()
    asked = cases(0.0, 0.1, 0.2, 0.3, 0.4)
    at.worker.ask(asked[0])
    while at.worker.waiting:  # until the model has begun with the first
        threading.Event().wait(0.01)
    for case in asked[1:]:
        at.worker.ask(case)
    at.model.go.set()
    assert decisions(at.fetch(5)) == [0, 4, 1, 2, 3]


def test_asking_never_waits_for_the_model(desk):
    at = desk()
    at.model.go.clear()
    for case in cases(*[0.1] * 50):
        at.worker.ask(case)  # returns although the model is stuck
    assert at.worker.answers() == [] and at.worker.waiting >= 49
    at.model.go.set()
    assert len(at.fetch(50)) == 50


def test_failure_is_told_and_the_next_frame_is_judged_again(desk):
    at = desk()
    attempts = Attempts()
    for k, blue in enumerate([0.0, 0.5, 1.0, 0.0]):
        at.worker.ask(attempts.take(question(k), "lift", [image(0.2, 0.0, blue)]))
    answers = at.fetch(4)
    assert [answer.error for answer in answers] == [
        "",
        "it is too blue",
        "fake failed: RuntimeError('broken')",
        "",
    ]
    unknown = answers[1].reward(RULE, 2.0)
    assert not unknown.valid and unknown.error == "it is too blue" and not unknown.success
    assert unknown.progress != unknown.progress, "not a number, never 0"
    assert (unknown.sequence, unknown.decision, unknown.model_hash) == (41, 1, "f00d")


def test_model_that_is_far_behind_gives_up_the_oldest(desk):
    at = desk(backlog=2)
    at.model.go.clear()
    asked = cases(*[0.1] * 5)
    at.worker.ask(asked[0])
    while at.worker.waiting:
        threading.Event().wait(0.01)
    for case in asked[1:]:
        at.worker.ask(case)
    at.model.go.set()
    answers = sorted(at.fetch(5), key=lambda item: item.case.question.decision)
    assert [bool(answer.error) for answer in answers] == [False, True, True, False, False]
    assert "behind" in answers[1].error


def test_attempt_whose_beginning_was_missed_is_not_judged(desk):
    at = desk()
    attempts = Attempts()
    at.worker.ask(attempts.take(question(4), "lift", [image(0.9)]))
    at.worker.ask(attempts.take(question(0, "train_000001"), "lift", [image(0.1)]))
    first, second = at.fetch(2)
    assert "in the middle of train_000000" in first.error and second.judgement is not None


def test_repeated_episode_is_a_new_attempt():
    attempts = Attempts()
    first = cases(0.1, 0.2, attempts=attempts)[-1]
    again = cases(0.3, attempts=attempts)[0]
    assert again.attempt is not first.attempt and len(again.frames) == 1
    assert len(first.frames) == 2, "what was asked before keeps its frames"


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_success_is_k_of_the_last_n_in_whatever_order_the_answers_come(says, shuffle):
    asked = cases(*[0.5] * len(says))
    order = list(range(len(says)))
    shuffle.shuffle(order)
    for position, k in enumerate(order):
        judgement = Judgement(0.5, 0.9 if says[k] else 0.1)
        reward = Answer(asked[k], judgement, "", "m", "h").reward(RULE, 0.0)
        known = sorted(other for other in order[: position + 1] if other <= k)
        assert reward.success == (sum(says[other] for other in known[-RULE.n :]) >= RULE.k)


def test_threshold_itself_is_success_after_the_message_rounded_it():
    (case,) = cases(0.5)
    reward = Answer(case, Judgement(0.5, 0.7), "", "m", "h").reward(Calibration(0.7, 1, 1), 0.0)
    assert reward.success


@settings(deadline=None)
@given(st.lists(st.sampled_from(["put", "take"]), max_size=60), st.booleans())
def test_backlog_hands_out_every_case_once(steps, in_order):
    backlog = Backlog(in_order=in_order)
    asked = iter(cases(*[0.0] * 60))
    put, taken = [], []
    for step in [*steps, *["take"] * 60]:
        if step == "put":
            put.append(next(asked))
            assert backlog.put(put[-1]) is None
        elif (case := backlog.take()) is not None:
            newest = max(put, key=lambda item: item.question.decision)
            waiting = [item for item in put if item not in taken]
            first = not in_order and newest in waiting
            assert case is (newest if first else waiting[0])
            taken.append(case)
    assert len(backlog) == 0 and len(taken) == len(put)


def test_cameras_are_picked_by_name():
    front, wrist = image(0.1), image(0.2)
    assert pick(["front", "wrist"], [front, wrist], ["wrist"])[0] is wrist
    assert len(pick(["front", "wrist"], [front, wrist], [])) == 2
    with pytest.raises(KeyError):
        pick(["front"], [front], ["wrist"])


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.5, float("inf")])
def test_judgement_that_is_no_share_is_refused(value):
    with pytest.raises(JudgementError, match="not in 0..1"):
        Judgement(value, 0.5)
    with pytest.raises(JudgementError, match="not in 0..1"):
        Judgement(0.5, value)
