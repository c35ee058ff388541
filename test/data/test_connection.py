"""When the recorder may say that it hears everybody, and what it knows to have missed."""

import pytest

from tmrl_ros.core.load import load_config
from tmrl_ros.data.connection import SETTLE_AFTER_KILL_S, SETTLE_S, Connection
from tmrl_ros.data.gaps import GapCounter
from tmrl_ros.data.items import EPISODE_TYPE, Item, Topic
from tmrl_ros.data.recorded_topics import IMAGE_TYPE, NEEDED, graph_topics

ALL = {"episode": 1, "reward": 2}


@pytest.mark.parametrize(
    ("after_kill", "settle_s"), [(False, SETTLE_S), (True, SETTLE_AFTER_KILL_S)]
)
def test_connections_settle_before_they_count(after_kill, settle_s):
    connection = Connection(after_kill)
    assert connection.missing({**ALL, "episode": 0}, 0.0) == ["episode"]
    assert connection.missing(ALL, 5.0) == ["everybody"]
    assert connection.missing(ALL, 5.0 + 0.9 * settle_s) == ["everybody"]
    assert connection.missing(ALL, 5.0 + settle_s) == []


def test_whoever_goes_and_comes_back_has_to_settle_again():
    connection = Connection()
    connection.missing(ALL, 0.0)
    assert connection.missing(ALL, 10.0) == []
    assert connection.missing({**ALL, "reward": 0}, 11.0) == ["reward"]
    assert connection.missing(ALL, 12.0) == ["everybody"]


def numbered(number, topic="/reward", *, counts=True):
    return Item(Topic(topic, "tmrl_msgs/msg/RewardEstimate", numbered=counts), b"", 0, 0, number)


def test_missing_numbers_are_lost_messages_topic_by_topic():
    gaps = GapCounter()
    story = [(3, "/reward"), (4, "/reward"), (9, "/chunk"), (7, "/reward"), (10, "/chunk")]
    assert [gaps.take(numbered(n, topic)) for n, topic in story] == [0, 0, 0, 2, 0]


def test_a_restarted_publisher_and_topics_of_many_publishers_lose_nothing():
    gaps = GapCounter()
    assert [gaps.take(numbered(n)) for n in (41, 1, 2)] == [0, 0, 0]
    assert [gaps.take(numbered(n, "/tf", counts=False)) for n in (1, 90)] == [0, 0]
    assert gaps.take(numbered(0)) == 0, "the middleware gave it no number"


def test_everything_that_is_needed_is_recorded_and_episodes_come_last():
    found = graph_topics(load_config())
    assert set(NEEDED) <= {topic.name for topic in found}
    assert [topic.type_name for topic in found if topic.type_name == EPISODE_TYPE] == [EPISODE_TYPE]
    assert found[-1].type_name == EPISODE_TYPE


def test_images_are_left_out_on_request():
    def images(choice):
        config = load_config([f"recorder.cameras={choice}"])
        return sum(topic.type_name == IMAGE_TYPE for topic in graph_topics(config))

    assert (images("none"), images("all")) == (0, 4)
