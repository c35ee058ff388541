"""Recorded episodes judged again by a Robometer server, first in, first out."""

import pytest
from cases import image

from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.load import load_config
from tmrl_ros.rewards.model import Calibration, JudgementError
from tmrl_ros.rewards.offline import load_offline


@pytest.fixture
def settings(server):
    return ["reward=robometer_http", f"reward.url={server.url}", "reward.backoff_s=0.01"]


def test_frames_are_judged_in_their_order_each_with_its_own_prefix(server, settings):
    model = load_offline(load_config(settings))
    said = []
    for prompt, reds in (("lift it", [0.1, 0.5, 0.9]), ("drop it", [0.3])):
        model.begin_episode(prompt)
        said += [model.observe([image(red)]).progress for red in reds]
    assert said == pytest.approx([0.1, 0.5, 0.9, 0.3], abs=0.01)
    firsts = [samples[0]["frames"][0, 0, 0, 0] for samples in server.evaluations]
    assert firsts == [26, 26, 26, 76], "the second episode begins anew"
    assert [samples[0]["task"] for samples in server.evaluations] == ["lift it"] * 3 + ["drop it"]
    assert model.calibration == Calibration(0.65, 2, 2) and list(model.cameras) == ["exterior"]
    assert model.hash and "Robometer" in model.name


def test_its_patience_is_longer_than_that_of_a_live_robot(server, settings):
    server.faults.append("slow")
    server.slow_s = 2.0
    once = [*settings, "reward.retries=1", "reward.timeout_s=1"]
    model = load_offline(load_config([*once, "reward.relabel_timeout_s=600"]))
    model.begin_episode("lift it")
    assert model.observe([image(0.5)]).progress == pytest.approx(0.5, abs=0.01)


def test_frame_that_cannot_be_judged_does_not_end_the_work(server, settings):
    model = load_offline(load_config(settings))
    model.begin_episode("lift it")
    server.faults.append("garbage")
    with pytest.raises(JudgementError, match="no JSON"):
        model.observe([image(0.1)])
    assert model.observe([image(0.2)]).progress == pytest.approx(0.2, abs=0.01)


def test_server_that_is_gone_ends_the_work_with_a_sentence(server, settings):
    model = load_offline(load_config(settings))
    model.begin_episode("lift it")
    server.die()
    with pytest.raises(ConfigurationError, match="broken off: nobody listens"):
        model.observe([image(0.1)])
    with pytest.raises(ConfigurationError, match="nobody listens"):
        load_offline(load_config(settings))
