"""Robot PC and GPU PC: who runs what, and what each makes of the other's announcements."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.graph import KINDS, nodes_for
from tmrl_ros.core.hosts import MAX_CLOCK_OFFSET_S, Announcement, Link
from tmrl_ros.core.load import load_config
from tmrl_ros.doctor.finding import Level
from tmrl_ros.doctor.hosts import hosts

FILE = Path("config.yaml")
TWO = "session.localhost_only=false"


@cache
def config(host, *overrides):
    return load_config([TWO, f"session.host={host}", *overrides])


def names(host, kind="finetune"):
    return [node.name for node in nodes_for(config(host), FILE, kind)]


def heard(ahead_s, trip_s, *, overrides=()):
    """The robot PC's link after one round trip to a GPU PC whose clock is ahead."""
    robot = Link(config("robot"), "r")
    gpu = Link(config("gpu", *overrides), "g")
    gpu.hear(robot.announce(100.0), 100.0 + trip_s / 2 + ahead_s, 0.0)
    said = gpu.announce(101.0 + ahead_s)
    robot.hear(said, 101.0 + trip_s / 2, 5.0)
    return robot


@pytest.mark.parametrize("kind", KINDS)
def test_both_computers_together_run_every_node_once(kind):
    both = [name for host in ("robot", "gpu") for name in names(host, kind) if name != "host_link"]
    assert sorted(both) == sorted(node.name for node in nodes_for(load_config(), FILE, kind))


def test_what_moves_stops_and_records_the_arm_is_on_the_robot_pc():
    assert {"safety_supervisor", "sim_franka", "recorder", "perception"} <= set(names("robot"))
    assert set(names("gpu")) == {"host_link", "policy_server", "reward", "learner"}
    assert names("robot")[0] == names("gpu")[0] == "host_link"


def test_a_part_needs_a_way_to_the_other_computer():
    with pytest.raises(ConfigurationError, match="host=robot needs localhost_only=false"):
        load_config(["session.host=robot"])


@given(st.floats(-100.0, 100.0), st.floats(0.0001, 0.4))
def test_clocks_are_compared_over_a_round_trip(ahead_s, trip_s):
    measured_s, over_s = heard(ahead_s, trip_s).clock
    assert measured_s == pytest.approx(ahead_s, abs=1e-6)
    assert over_s == pytest.approx(trip_s, abs=1e-6)


def test_the_quickest_of_several_round_trips_counts():
    link = heard(0.2, 0.4)
    slow = replace(link.heard, echo_sent_s=102.0, echo_received_s=102.9, sent_s=103.0)
    link.hear(slow, 103.1, 6.0)
    assert link.clock[0] == pytest.approx(0.2)


def test_an_echo_of_somebody_else_s_words_tells_nothing_of_clocks():
    link = heard(0.2, 0.4)
    stranger = Link(config("robot"), "other")
    stranger.hear(link.heard, 200.0, 0.0)
    assert stranger.clock is None


def test_another_configuration_is_refused_in_a_sentence_that_names_the_key():
    with pytest.raises(ConfigurationError) as refused:
        heard(0.0, 0.01, overrides=["task.max_decisions=5"])
    assert str(refused.value) == (
        "The gpu PC and the robot PC were started with different configurations "
        "(task.max_decisions is 5 here, 12 there): type the same command on both, with only "
        "session.host different."
    )


def test_where_a_part_runs_and_who_watches_may_differ():
    heard(0.0, 0.01, overrides=["session.console=false", "session.dir=elsewhere"])


def test_silence_and_clocks_are_put_in_one_sentence_each():
    assert "Nothing is heard of the gpu PC" in Link(config("robot"), "r").trouble(0.0)
    assert heard(0.001, 0.002).trouble(5.5) == ""
    assert "has been silent for 10 s" in heard(0.001, 0.002).trouble(15.0)
    assert "is 3.00 s behind this one's: start chrony" in heard(-3.0, 0.002).trouble(5.5)
    assert heard(MAX_CLOCK_OFFSET_S, 0.4).trouble(5.5) == ""  # cannot be told over so long a trip


def test_announcements_travel_and_others_words_are_passed_over():
    said = heard(0.1, 0.2).announce(7.0)
    assert Announcement.from_json(said.to_json()) == said
    for text in ("", "[]", "{}", '{"values": 3}', "null", '"host"'):
        assert Announcement.from_json(text) is None


def test_the_doctor_tells_silence_mismatch_and_clocks_apart():
    alone = hosts(Link(config("gpu"), "g"), "")
    assert [(item.check, item.level) for item in alone] == [("robot PC", Level.BAD)]
    assert hosts(heard(0.0, 0.01), "they differ")[0].text == "they differ"
    levels = [item.level for item in hosts(heard(0.0, 0.01), "")]
    assert levels == [Level.GOOD, Level.GOOD]
    late = hosts(heard(1.0, 0.01), "")[1]
    assert (late.level, late.text) == (Level.BAD, "1000.0 ms apart, measured over 10.0 ms")
