"""A software stop leaves a bag of what was said around it, in an episode or between two."""

import json
import logging

import pytest
import yaml
from recorded import item, sample, target
from sessions import stop

from tmrl_ros.data.bag_reader import read_about
from tmrl_ros.data.bag_stream import BagStream
from tmrl_ros.data.items import Topic
from tmrl_ros.data.recording import Recording
from tmrl_ros.data.stop_buffer import StopBuffer

SECOND = 1_000_000_000
BEGIN = 1_700_000_000 * SECOND
DESCRIPTION = Topic("/robot_description", "std_msgs/msg/String", latched=True)


class Told:
    """A buffer, a clock, and what the file system refused."""

    def __init__(self, folder, **options):
        self.now_ns, self.faults = BEGIN, []
        values = {"before_s": 10.0, "max_bytes": 1e9, **options}
        self.buffer = StopBuffer(
            folder,
            custom={"session": "night"},
            compress=True,
            on_fault=lambda error, what: self.faults.append((error.errno, what)),
            log=logging.getLogger("test"),
            clock_ns=lambda: self.now_ns,
            **values,
        )

    def at(self, second, one):
        self.now_ns = BEGIN + round(second * SECOND)
        self.buffer.take(one._replace(stamp_ns=self.now_ns))
        self.buffer.keep_house()


def states(told, seconds):
    for second in seconds:
        told.at(second, item(sample(round(second))))


def ready():
    """The supervisor says that nothing is latched."""
    return stop("", "", 0)


def test_a_stop_leaves_a_bag_of_the_seconds_before_and_after_it(tmp_path):
    told = Told(tmp_path)
    told.at(0, ready())
    states(told, range(1, 31))
    told.at(30.5, stop("FORCE", "The arm met 70 N.", BEGIN + round(30.5 * SECOND)))
    assert not (tmp_path / "stops").exists(), "what follows still belongs to it"
    states(told, [31, 32, 33, 34])
    (bag,) = (tmp_path / "stops").iterdir()
    assert bag.name == "20231114T221350Z-FORCE"
    about = read_about(bag)
    assert (about["code"], about["message"], about["session"]) == (
        "FORCE",
        "The arm met 70 N.",
        "night",
    )
    messages = list(BagStream(bag))
    ticks = [m.decode().tick for m in messages if m.topic == "/robot/state"]
    assert ticks == [*range(21, 33)], "ten seconds before, two after"
    assert [m.topic for m in messages].count("/safety/state") == 2, "the last word before, and it"
    assert (bag / "metadata.yaml").is_file()


def test_a_repeated_word_on_the_same_stop_leaves_no_second_bag_and_a_new_stop_does(tmp_path):
    told = Told(tmp_path)
    told.at(0, ready())
    for second in (1.0, 1.2, 1.4, 5.0):
        told.at(second, stop("FORCE", "The arm met 70 N.", BEGIN + SECOND))
    assert len(list((tmp_path / "stops").iterdir())) == 1
    told.at(6, ready())
    told.at(7, stop("OPERATOR_STOP", "", BEGIN + 7 * SECOND))
    told.buffer.close()
    assert sorted(bag.name.partition("-")[2] for bag in (tmp_path / "stops").iterdir()) == [
        "FORCE",
        "OPERATOR_STOP",
    ]


@pytest.mark.parametrize("code", ["START", "SHUTDOWN"])
def test_the_supervisor_s_own_start_and_end_are_no_stops(tmp_path, code):
    told = Told(tmp_path)
    told.at(0, ready())
    told.at(1, stop(code, "", BEGIN + SECOND))
    told.buffer.close()
    assert not (tmp_path / "stops").exists()


def test_what_was_latched_before_the_recorder_came_is_no_new_stop(tmp_path):
    told = Told(tmp_path)
    told.at(1, stop("FORCE", "", BEGIN - SECOND))
    told.buffer.close()
    assert not (tmp_path / "stops").exists()


def test_memory_is_bounded_and_the_oldest_go_first(tmp_path):
    size = len(item(sample(0)).data)
    told = Told(tmp_path, before_s=1000.0, max_bytes=5.5 * size)
    told.at(0, ready())
    states(told, range(1, 101))
    told.at(100.5, stop("FORCE", "", BEGIN + 100 * SECOND))
    told.buffer.close()
    (bag,) = (tmp_path / "stops").iterdir()
    ticks = [m.decode().tick for m in BagStream(bag, ["robot/state"])]
    assert ticks == list(range(101 - len(ticks), 101)) and 3 <= len(ticks) <= 5


def test_no_bag_is_written_where_none_is_wanted(tmp_path):
    told = Told(tmp_path, before_s=0.0)
    told.at(0, ready())
    told.at(1, stop("FORCE", "", BEGIN + SECOND))
    told.buffer.close()
    assert not (tmp_path / "stops").exists()


def test_a_folder_that_cannot_be_written_is_said_and_the_buffer_goes_on(tmp_path):
    (tmp_path / "stops").write_text("a file where the folder should be")
    told = Told(tmp_path)
    told.at(0, ready())
    told.at(1, stop("FORCE", "", BEGIN + SECOND))
    told.buffer.close()
    ((_, what),) = told.faults
    assert what == "The bag of the stop FORCE cannot be written"
    (tmp_path / "stops").unlink()
    told.at(2, ready())
    told.at(3, stop("FORCE", "", BEGIN + 3 * SECOND))
    told.buffer.close()
    assert len(list((tmp_path / "stops").iterdir())) == 1


def test_the_recorder_keeps_stops_between_episodes(tmp_path):
    recording = Recording(tmp_path, custom={"session": "s"}, stop_buffer_s=10.0)
    recording.start()
    recording.put([ready(), item(sample(1)), item(target(1))])
    recording.put([stop("OPERATOR_STOP", "anna pressed it", item(sample(2)).stamp_ns)])
    recording.close()
    (bag,) = (tmp_path / "stops").iterdir()
    assert not list((tmp_path / "episodes").iterdir())
    topics = [message.topic for message in BagStream(bag)]
    assert topics == ["/safety/state", "/robot/state", "/robot/target", "/safety/state"]
    text = yaml.safe_load((bag / "metadata.yaml").read_text())
    said = text["rosbag2_bagfile_information"]["custom_data"]
    assert (said["code"], said["message"]) == ("OPERATOR_STOP", "anna pressed it")
    assert json.loads((bag / "episode.json").read_text())["session"] == "s"
