"""The Robometer backend against a server that speaks its protocol over real HTTP."""

import threading

import numpy as np
import pytest
from cases import cases, image, question
from hypothesis import given, settings
from hypothesis import strategies as st
from robometer_server import RobometerServer

from tmrl_ros.rewards.attempt import Attempts
from tmrl_ros.rewards.frames import clips, spread
from tmrl_ros.rewards.model import JudgementError
from tmrl_ros.rewards.robometer import RobometerJudge
from tmrl_ros.rewards.robometer_client import RobometerClient, ServerError


def judge_for(server, **settings):
    values = {"frames": 8, "timeout_s": 5.0, "retries": 3, "backoff_s": 0.01}
    return RobometerJudge(server.url, **{**values, **settings})


def refusal(judge, case):
    with pytest.raises(JudgementError) as caught:
        judge.judge(case)
    return str(caught.value)


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(2, 16))
def test_frames_are_spread_with_both_ends_and_padded_with_the_last(available, wanted):
    chosen = spread(available, wanted)
    assert len(chosen) == wanted and (np.diff(chosen) >= 0).all()
    assert (chosen[0], chosen[-1]) == (0, available - 1)
    if available <= wanted:
        assert list(chosen[:available]) == list(range(available))
        assert (chosen[available:] == available - 1).all()
    else:
        assert len(set(chosen)) == wanted
        assert np.ptp(np.diff(chosen)) <= 1


def test_clips_keep_cameras_apart():
    frames = [[image(k / 10), image(1 - k / 10)] for k in range(3)]
    front, wrist = clips(frames, 4)
    assert front.shape == wrist.shape == (4, 4, 6, 3)
    assert list(front[:, 0, 0, 0]) == [0, 26, 51, 51]
    assert list(wrist[:, 0, 0, 0]) == [255, 230, 204, 204]


def test_camera_that_changes_its_size_is_no_guess():
    with pytest.raises(JudgementError, match="several sizes"):
        clips([[image(0)], [image(0, size=(8, 8))]], 8)


def test_request_is_what_the_server_documents(server):
    judge = judge_for(server)
    case = cases(*np.linspace(0, 0.9, 30), success=0.25)[-1]
    said = judge.judge(case)
    assert said.progress == pytest.approx(0.9, abs=0.01), "the last of the values counts"
    assert said.success_probability == pytest.approx(0.25, abs=0.01), "red and green in RGB order"
    assert server.requests[:2] == ["/health", "/model_info"]
    (samples,) = server.evaluations
    (sample,) = samples
    assert sample["frames"].shape == (8, 4, 6, 3)
    assert sample["task"] == "lift the cube" and sample["id"].startswith("train_000000_29")
    assert judge.name == "robometer_http robometer/Robometer-4B" and len(judge.hash) == 16


def test_short_prefix_is_padded_with_its_last_frame(server):
    judge_for(server).judge(cases(0.2, 0.4)[-1])
    (samples,) = server.evaluations
    assert list(samples[0]["frames"][:, 0, 0, 0]) == [51, *[102] * 7]


def test_two_cameras_are_two_samples_and_their_mean_counts(server):
    attempt = Attempts()
    case = attempt.take(question(0), "lift the cube", [image(0.2, 1.0), image(0.6, 0.0)])
    said = judge_for(server).judge(case)
    assert said.progress == pytest.approx(0.4, abs=0.01)
    assert said.success_probability == pytest.approx(0.5, abs=0.01)
    assert len(server.evaluations) == 1 and len(server.evaluations[0]) == 2


def test_server_says_how_many_frames_its_model_takes(server):
    server.info["experiment_config"]["data"]["max_frames"] = 16
    judge_for(server).judge(cases(0.5)[0])
    assert len(server.evaluations[0][0]["frames"]) == 16


def test_two_models_have_two_hashes(server):
    one = judge_for(server)
    one.prepare()
    server.info["model_path"] = "somebody/else"
    other = judge_for(server)
    other.prepare()
    assert one.hash != other.hash


def test_error_answer_is_asked_again(server):
    server.faults.extend([500, 500])
    judge = judge_for(server)
    assert judge.judge(cases(0.5)[0]).progress == pytest.approx(0.5, abs=0.01)
    assert len(server.evaluations) == 3 and judge.trouble == ""


def test_errors_that_do_not_end_are_told_in_the_servers_words(server):
    server.faults.extend([500] * 3)
    text = refusal(judge_for(server), cases(0.5)[0])
    assert "says 500" in text and "CUDA out of memory" in text
    assert len(server.evaluations) == 3


def test_refusal_is_not_asked_again(server):
    server.faults.append(422)
    judge = judge_for(server)
    assert "says 422" in refusal(judge, cases(0.5)[0])
    assert len(server.evaluations) == 1 and judge.trouble == ""


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("garbage", "no JSON: <html>"),
        ("short", "4 values for 8 frames"),
        ("logits", "is not in 0..1"),
        ("blind", "outputs_success"),
    ],
)
def test_answer_that_is_no_judgement_is_not_believed(server, fault, words):
    server.faults.append(fault)
    judge = judge_for(server)
    assert words in refusal(judge, cases(0.1)[0])
    assert judge.judge(cases(0.1)[0]).progress == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("fault", ["slow", "drip"])
def test_server_that_takes_too_long_is_given_up(server, fault):
    server.faults.append(fault)
    server.slow_s = 2.0
    judge = judge_for(server, timeout_s=0.3, retries=1)
    assert "within 0.3 s" in refusal(judge, cases(0.5)[0])


def test_half_an_answer_is_no_answer(server):
    server.faults.append("cut")
    assert "broke off" in refusal(judge_for(server, retries=1), cases(0.5)[0])


def test_server_that_is_gone_is_left_alone_for_a_while_and_found_again(server):
    judge = judge_for(server, retries=2, backoff_s=0.05)
    first, second, third = cases(0.1, 0.2, 0.3)
    judge.judge(first)
    server.die()
    assert "nobody listens" in refusal(judge, second)
    assert "asked again in" in refusal(judge, third), "at once, without a request"
    again = RobometerServer(server.port)
    try:
        again.info["model_path"] = "robometer/another"
        assert threading.Event().wait(0.1) is False
        assert judge.judge(third).progress == pytest.approx(0.3, abs=0.01)
        assert again.requests[:2] == ["/health", "/model_info"], "another model may listen there"
        assert "another" in judge.name and judge.trouble == ""
    finally:
        again.die()


def test_pauses_between_looks_for_a_lost_server_grow(server):
    judge = judge_for(server, retries=1, backoff_s=1e-6)
    server.die()
    case = cases(0.1)[0]
    pauses = []
    for _ in range(4):
        judge._not_before_s = 0.0
        refusal(judge, case)
        pauses.append(judge._pause_s)
    assert pauses == pytest.approx([2e-6, 4e-6, 8e-6, 16e-6])


def test_unhealthy_server_is_not_asked(server):
    server.healthy = False
    judge = judge_for(server, retries=1)
    assert "not healthy" in refusal(judge, cases(0.1)[0])
    assert server.evaluations == []


def test_closing_breaks_off_a_request(server):
    server.gate.clear()
    judge = judge_for(server, timeout_s=30.0, retries=3, backoff_s=30.0)
    said = []
    thread = threading.Thread(target=lambda: said.append(refusal(judge, cases(0.1)[0])))
    thread.start()
    assert _until(lambda: server.busy == 1)
    judge.close()
    thread.join(10.0)
    assert said and "broke off" in said[0]


def test_death_in_the_middle_of_an_answer_is_an_error_of_the_server(server):
    server.gate.clear()
    client = RobometerClient(server.url)
    killer = threading.Thread(target=lambda: _until(lambda: server.busy == 1) and server.die())
    killer.start()
    with pytest.raises(ServerError):
        client.progress([np.zeros((8, 4, 4, 3), np.uint8)], "lift", "a", 30.0)
    killer.join(10.0)


@pytest.mark.parametrize("url", ["gpu-machine:8000", "ftp://x", ""])
def test_address_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="http://"):
        RobometerClient(url)


def _until(condition, patience_s=10.0):
    wait = threading.Event()
    for _ in range(int(patience_s / 0.01)):
        if condition():
            return True
        wait.wait(0.01)
    return False
