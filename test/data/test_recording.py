"""Which message ends up in which bag, and what happens when the disk does not want it."""

import errno
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import yaml
from rclpy.serialization import serialize_message
from recorded import (
    CHUNK,
    EPISODE,
    OBSERVATION,
    PARAMETERS,
    chunk,
    episode,
    event,
    item,
    message,
    observation,
    parameters,
    target,
    topic_of,
)

from tmrl_ros.core.types import EpisodeOutcome, EpisodeState
from tmrl_ros.data.assembler import assemble
from tmrl_ros.data.bag_reader import read_episode, read_session
from tmrl_ros.data.bag_stream import BagStream
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.data.items import episode_of
from tmrl_ros.data.recording import Recording
from tmrl_ros.data.repair import is_intact

PATIENCE_S = 20.0
SUCCESS, FAILURE, TIMEOUT, ABORTED = list(EpisodeOutcome)[1:]
RESETTING, RUNNING, ENDED = EpisodeState.RESETTING, EpisodeState.RUNNING, EpisodeState.ENDED


@pytest.fixture
def start(tmp_path):
    started = []

    def make(**options):
        recording = Recording(tmp_path, custom={"session": "s"}, **options)
        recording.start()
        started.append(recording)
        return recording

    yield make
    for recording in started:
        recording.close()


def wait_for(condition):
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, "did not happen"
        time.sleep(0.005)


def record(recording, pieces):
    return recording.put(item(piece) for piece in pieces)


def bag(tmp_path, name="train_000000"):
    return tmp_path / "episodes" / name


def size_of(folder):
    return sum(file.stat().st_size for file in folder.glob("*.mcap"))


def counts(folder):
    return json.loads((folder / "counts.json").read_text())


@pytest.mark.parametrize("frame", ["", "a", "abc", "panda_link0", "x" * 29])
@pytest.mark.parametrize("name", ["t", "train_000012", "evaluate_before_000003"])
def test_the_episode_of_a_message_is_read_from_its_first_bytes(frame, name):
    for piece in (observation(2, name), chunk(1, name), event(name)):
        msg = message(piece)
        msg.header.frame_id = frame
        assert episode_of(topic_of(piece).type_name, bytes(serialize_message(msg))) == name
    assert episode_of("tmrl_msgs/msg/RobotTarget", item(target(1)).data) is None


def test_every_episode_gets_its_own_bag_with_everything_in_it(tmp_path, start):
    recording = start()
    for number in range(3):
        assert record(recording, episode(f"train_{number:06d}")) == 0
    recording.close()
    records = read_session(tmp_path)
    assert [r.episode_id for r in records] == [f"train_{n:06d}" for n in range(3)]
    for found in records:
        assert is_intact(found.path) and len(assemble(found).transitions) == 3
        assert found.about["session"] == "s" and found.about["episode_seed"] == "7"
        total = counts(found.path)
        assert total["failure"] == "" and total["topics"]["/action_chunk"] == {
            "sent": 4,
            "received": 4,
            "written": 4,
            "dropped": 0,
        }


def test_late_messages_find_the_bag_of_their_episode(tmp_path, start):
    recording = start()
    first, second = episode("train_000000"), episode("train_000001")
    late = first[-2:]  # the last outcome and ENDED are overtaken by the next episode's start
    record(recording, [*first[:-2], *second[:5], *late, *second[5:]])
    recording.close()
    for found in read_session(tmp_path):
        assert len(assemble(found).transitions) == 3 and found.others == []


def test_a_bag_is_closed_a_moment_after_the_action(tmp_path, start):
    recording = start(linger_s=0.05)
    record(recording, [*episode(), event("", EpisodeState.IDLE)])
    wait_for(lambda: (bag(tmp_path) / "counts.json").exists())
    assert is_intact(bag(tmp_path)) and recording.status.episode_id == ""


def test_latched_topics_open_every_bag(tmp_path, start):
    recording = start()
    record(recording, [parameters(4), *episode("train_000000"), *episode("train_000001")])
    record(recording, [parameters(5), *episode("train_000002")])
    recording.close()
    for name, version in [("train_000000", 4), ("train_000001", 4), ("train_000002", 5)]:
        messages = list(BagStream(bag(tmp_path, name)))
        assert PARAMETERS.name in [m.topic for m in messages[:2]]
        (said,) = [m.decode() for m in messages[:2] if m.topic == PARAMETERS.name]
        assert said.version == version


def test_a_start_that_is_announced_twice_opens_one_bag(tmp_path, start):
    recording = start()
    pieces = episode()
    record(recording, [pieces[0], pieces[0], *pieces[1:]])
    again = item(pieces[0])
    recording.close()
    assert [p.name for p in (tmp_path / "episodes").iterdir()] == ["train_000000"]
    opened_by = read_episode(bag(tmp_path)).about["sent_ns"]
    restarted = start()
    restarted.put([again._replace(sent_ns=int(opened_by))])  # a late joiner gets it again
    restarted.close()
    assert [p.name for p in (tmp_path / "episodes").iterdir()] == ["train_000000"]


def test_a_repeated_episode_replaces_the_old_bag_which_is_kept_aside(tmp_path, start):
    recording = start()
    record(recording, episode(result=TIMEOUT))
    record(recording, episode(result=SUCCESS))
    recording.close()
    assert {p.name for p in (tmp_path / "episodes").iterdir()} == {
        "train_000000",
        "train_000000.aborted-1",
    }
    (found,) = read_session(tmp_path)
    assert found.ended.outcome is SUCCESS


def test_messages_that_come_much_too_late_are_not_lost_to_their_episode(tmp_path, start):
    recording = start(linger_s=0.0)
    first, second = episode("train_000000"), episode("train_000001")
    record(recording, [*first[:-2], second[0]])
    wait_for(lambda: is_intact(bag(tmp_path)))
    record(recording, [*first[-2:], *second[1:], event("", EpisodeState.IDLE)])
    wait_for(lambda: is_intact(bag(tmp_path, "train_000001")))
    assert recording.status.dropped == 0
    record(recording, [chunk(9, "train_000001")])
    wait_for(lambda: recording.status.dropped == 1)
    assert [len(assemble(found).transitions) for found in read_session(tmp_path)] == [3, 3]


@pytest.mark.parametrize("when", ["during the next episode", "after everything"])
def test_a_label_given_later_joins_its_episode(tmp_path, start, when):
    recording = start(linger_s=0.0)
    label = event("train_000000", ENDED, FAILURE, 3, "alice", 99)
    record(recording, [*episode("train_000000"), *episode("train_000001")[:-1]])
    wait_for(lambda: is_intact(bag(tmp_path)))
    if when == "after everything":
        record(recording, [episode("train_000001")[-1], event("", EpisodeState.IDLE)])
        wait_for(lambda: is_intact(bag(tmp_path, "train_000001")))
    record(recording, [label])
    recording.close()
    first, second = read_session(tmp_path)
    assert first.ended.outcome is FAILURE and first.ended.labelled_by == "alice"
    assert assemble(first).transitions[-1].reward == 0.0
    assert second.episode_id == "train_000001"


def test_a_recorder_that_joins_late_records_from_there_on(tmp_path, start, caplog):
    caplog.set_level(logging.WARNING)
    recording = start()
    pieces = episode()
    record(recording, pieces[4:])  # RUNNING, nothing of it recorded yet
    recording.close()
    assert "from its middle on" in caplog.text
    assert len(assemble(read_episode(bag(tmp_path))).transitions) == 3
    restarted = start()
    record(restarted, pieces[4:])
    restarted.close()
    assert "The rest of episode train_000000 is not recorded" in caplog.text
    assert len(read_episode(bag(tmp_path)).chunks) == 4


def test_lost_and_dropped_messages_are_counted(tmp_path, start, caplog):
    recording = start(max_queue_bytes=20_000)
    first, *rest = episode()
    items = [item(first)._replace(number=1)]
    items += [item(target(k))._replace(number=number) for k, number in enumerate([5, 6, 9])]
    recording.put(items)
    wait_for(lambda: recording.status.messages == 4)
    assert recording.status.lost == 2
    huge = item(observation(0))._replace(data=bytes(30_000))
    assert recording.put([huge]) == 1
    wait_for(lambda: recording.status.dropped == 1)
    assert "The recorder cannot keep up: 1 messages are not recorded" in caplog.text
    recording.close()
    found = counts(bag(tmp_path))["topics"]
    assert found["/robot/target"] == {"sent": 5, "received": 3, "written": 3, "dropped": 0}
    assert found["/observation"] == {"sent": 1, "received": 1, "written": 0, "dropped": 1}


def test_a_message_that_cannot_be_understood_does_not_end_the_recording(tmp_path, start):
    recording = start()
    pieces = episode()
    record(recording, pieces[:5])
    recording.put([item(event())._replace(data=b"\0\1\0\0oops")])
    record(recording, pieces[5:])
    recording.close()
    assert len(assemble(read_episode(bag(tmp_path))).transitions) == 3
    assert recording.status.dropped == 1


def test_too_little_room_is_one_sentence_and_no_episode_starts(tmp_path, start):
    recording = start(min_free_bytes=1e18)
    assert not recording.status.ok
    assert "less than recorder.min_free_mb=1000000000000" in recording.status.message
    assert recording.status.message.endswith("No episode starts.")
    assert start(min_free_bytes=0).status.ok


def test_a_full_disk_is_survived_and_recording_goes_on_when_there_is_room(
    tmp_path, start, monkeypatch
):
    full = [False]
    write = BagWriter.write

    def maybe_full(self, *args, **kwargs):
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, *args, **kwargs)

    monkeypatch.setattr(BagWriter, "write", maybe_full)
    monkeypatch.setattr(Recording, "_probe", lambda self: not full[0])
    recording = start()
    pieces = episode("train_000000")
    record(recording, pieces[:-5])
    wait_for(lambda: size_of(bag(tmp_path)) > 1000)
    full[0] = True
    record(recording, pieces[-5:])
    wait_for(lambda: recording.status.dropped == 5)
    assert not recording.status.ok and "No space left on device" in recording.status.message
    full[0] = False
    wait_for(lambda: recording.status.ok)
    record(recording, episode("train_000001"))
    recording.close()
    assert is_intact(bag(tmp_path, "train_000001"))
    assert counts(bag(tmp_path))["failure"] == "No space left on device"
    start()  # the next recorder repairs
    assert is_intact(bag(tmp_path))


def test_a_file_the_system_really_refuses_does_not_kill_the_recorder(tmp_path):
    script = textwrap.dedent(
        """
        import resource, sys, time
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from recorded import episode, item, observation
        from tmrl_ros.data.recording import Recording
        recording = Recording(Path(sys.argv[1]), custom={}, compress=False)
        recording.start()
        pieces = [item(p) for p in episode(decisions=2)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
        recording.put(pieces[:-1])
        for _ in range(400):
            if not recording.status.ok:
                break
            recording.put([item(observation(9))] * 20)
            time.sleep(0.01)
        recording.put(pieces[-1:])
        recording.close()
        print(recording.status.message, recording.status.dropped > 0)
        """
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "cannot be written (File too large)" in ran.stdout and "True" in ran.stdout
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_killed_recorder_loses_at_most_its_last_moment(tmp_path, start):
    """SIGKILL in the middle of an episode; the next recorder repairs the bag."""
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from recorded import episode, item
        from tmrl_ros.data.recording import Recording
        recording = Recording(Path(sys.argv[1]), custom={"session": "s"})
        recording.start()
        pieces = episode(decisions=6)
        cut = len(pieces) - 4
        recording.put([item(p) for p in pieces[:cut]])
        while not (bag := next(Path(sys.argv[1]).glob("episodes/*/*.mcap"), None)) or (
            bag.stat().st_size < 1000
        ):
            time.sleep(0.01)
        recording.put([item(pieces[cut])])
        print("killed now", flush=True)
        time.sleep(60)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "killed now\n"
        finally:
            process.send_signal(signal.SIGKILL)
    folder = bag(tmp_path)
    assert not is_intact(folder) and not read_episode(folder).complete
    start()
    assert is_intact(folder)
    found = read_episode(folder)
    assert found.complete and found.ended is None and found.about["session"] == "s"
    assembled = assemble(found)
    assert [row.decision for row in assembled.transitions] == [0, 1, 2, 3, 4]
    assert {CHUNK.name, EPISODE.name, OBSERVATION.name} <= {m.topic for m in BagStream(folder)}


def test_metadata_say_which_policy_and_which_reward_an_episode_was_made_with(tmp_path, start):
    recording = start()
    record(recording, episode("train_000000", 3, SUCCESS))
    recording.close()
    text = yaml.safe_load((bag(tmp_path) / "metadata.yaml").read_text())
    said = text["rosbag2_bagfile_information"]["custom_data"]
    assert (said["bundle_hash"], said["reward_model"], said["reward_hash"]) == (
        chunk(0).bundle_hash,
        "simulator",
        "",
    )
    assert (said["task"], said["method"], said["outcome"]) == ("lift", "tmrl", "success")


def test_a_disk_that_fills_up_is_warned_of_once_and_episodes_still_start(tmp_path, caplog):
    log = logging.getLogger("recorder that warns")
    with caplog.at_level(logging.WARNING):
        recording = Recording(tmp_path, custom={}, warn_free_bytes=1e18, log=log)
        recording.start()
        record(recording, episode())
        recording.close()
    said = [r.message for r in caplog.records if "recorder.warn_free_mb" in r.message]
    assert len(said) == 1 and recording.status.ok


def test_messages_without_room_are_dropped_and_not_lost_on_the_way_as_well(tmp_path):
    recording = Recording(tmp_path, custom={}, max_queue_bytes=30_000, linger_s=60.0)
    first, *rest = [item(piece) for piece in episode("train_000000", 3)]
    seen = [one._replace(number=1) for one in [item(target(0)), first]]
    targets = [item(target(k))._replace(number=k + 2) for k in range(400)]
    recording.start()
    recording.put(seen[::-1])
    wait_for(lambda: recording.status.messages == 2)
    dropped = recording.put(targets)
    assert 0 < dropped < 400
    wait_for(lambda: recording.status.dropped == dropped)
    recording.put([item(target(400))._replace(number=402)])
    recording.close()
    counts = json.loads((bag(tmp_path) / "counts.json").read_text())["topics"]["/robot/target"]
    assert (counts["sent"], counts["received"], counts["dropped"]) == (402, 402, dropped)
    assert counts["written"] == 402 - dropped and recording.status.lost == 0
