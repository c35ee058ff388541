"""Bags: what goes in comes out, in rosbag2's layout, with or without an end."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rclpy.serialization import serialize_message
from recorded import (
    EPISODE,
    OBSERVATION,
    OUTCOME,
    chunk,
    episode,
    event,
    item,
    observation,
    outcome,
    put,
    stamp_of,
)
from rosbags.highlevel import AnyReader

from tmrl_ros.core.types import (
    Chunk,
    ChunkResult,
    ChunkSource,
    Episode,
    EpisodeState,
    Outcome,
    Reward,
)
from tmrl_ros.data import decode
from tmrl_ros.data.assembler import assemble
from tmrl_ros.data.bag_reader import read_episode
from tmrl_ros.data.bag_stream import BagError, BagStream
from tmrl_ros.data.bag_writer import BagWriter, move_aside
from tmrl_ros.data.definitions import definition, share_folders
from tmrl_ros.data.repair import Repair, is_intact, repair_bag
from tmrl_ros.nodes import convert

RUNNING = EpisodeState.RUNNING
ABOUT = {"session": "s", "episode_id": "train_000000", "config_hash": "abc"}


def write_bag(folder, pieces, *, compress=True, flush_every=None, close=True):
    writer = BagWriter(folder, custom=ABOUT, compress=compress)
    for count, piece in enumerate(pieces, start=1):
        put(writer, piece)
        if flush_every and count % flush_every == 0:
            writer.flush()
    if close:
        writer.close({"outcome": "success"})
    else:
        writer.abort()
    return writer


def same(one, other):
    """Whether two core values agree in every field, to the bit."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if hasattr(one, "__dataclass_fields__"):
        return type(one) is type(other) and all(
            same(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__
        )
    return one == other


@pytest.fixture
def bag(tmp_path):
    folder = tmp_path / "train_000000"
    write_bag(folder, episode())
    return folder


def test_late_messages_of_an_earlier_attempt_are_left_out(tmp_path):
    pieces = episode()
    running = next(i for i, p in enumerate(pieces) if getattr(p, "state", 0) == RUNNING)
    second = [
        *pieces[:running],
        replace(pieces[running], stamp_ns=stamp_of(2)),
        *pieces[running + 1 :],
    ]
    write_bag(tmp_path / "train_000000", second)
    record = read_episode(tmp_path / "train_000000", observations=True)
    for found in (record.chunks, record.rewards, record.observations):
        assert [item.decision for item in found] == [2, 3]
    assert len(record.reset_chunks) == 1
    policy = [item for item in record.outcomes if item.source is ChunkSource.POLICY]
    assert [item.decision for item in policy] == [2, 3]


@pytest.mark.parametrize("compress", [True, False])
def test_an_episode_comes_back_value_by_value(tmp_path, compress):
    pieces = episode()
    write_bag(tmp_path / "train_000000", pieces, compress=compress)
    record = read_episode(tmp_path / "train_000000", images=True, robot=True)
    assert record.complete and record.episode_id == "train_000000"
    chunks = [p for p in pieces if isinstance(p, Chunk)]
    for found, sent in [
        (record.reset_chunks + record.chunks, chunks),
        (record.events, [p for p in pieces if isinstance(p, Episode)]),
        (record.outcomes, [p for p in pieces if isinstance(p, Outcome)]),
        (record.rewards, [p for p in pieces if isinstance(p, Reward)]),
    ]:
        assert len(found) == len(sent) > 0
        assert all(same(a, b) for a, b in zip(found, sent, strict=True))
    assert len(record.robot) == len(record.targets) == 3 * 4
    for k, seen in enumerate(record.observations):
        msg = observation(k)
        assert seen.prompt == msg.prompt and seen.sequence == msg.sequence
        assert same(seen.robot, decode.robot(msg.robot))
        assert np.array_equal(seen.object_positions.ravel(), np.array(msg.object_positions))
        for name, image in zip(msg.camera_names, msg.images, strict=True):
            assert np.array_equal(seen.images[name], decode.image(image))


def test_metadata_has_the_fields_of_official_rosbag2(bag):
    info = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert info["version"] == 9 and info["storage_identifier"] == "mcap"
    assert info["relative_file_paths"] == ["train_000000_0.mcap"]
    assert info["files"][0]["path"] == "train_000000_0.mcap"
    assert info["compression_format"] == info["compression_mode"] == ""
    assert info["message_count"] == info["files"][0]["message_count"] == len(episode())
    assert info["duration"]["nanoseconds"] > 0
    assert info["custom_data"] == {**ABOUT, "outcome": "success"}
    topics = {t["topic_metadata"]["name"]: t for t in info["topics_with_message_count"]}
    latched = topics["/episode"]["topic_metadata"]
    assert latched["offered_qos_profiles"][0]["durability"] == "transient_local"
    assert latched["serialization_format"] == "cdr"
    assert latched["type_description_hash"] == definition(latched["type"]).type_hash
    chunks = topics["/action_chunk"]
    assert chunks["message_count"] == 4
    assert chunks["topic_metadata"]["offered_qos_profiles"][0]["durability"] == "volatile"
    assert json.loads((bag / "episode.json").read_text()) == ABOUT


def test_other_readers_understand_the_bag(bag):
    with AnyReader([bag]) as reader:  # checks every type hash against its definition
        decoded = [reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages()]
    assert len(decoded) == len(episode())
    with (bag / "train_000000_0.mcap").open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        texts = [m.ros_msg.prompt for _, c, m in _decoded(reader) if c.topic == "/observation"]
        schemas = reader.get_summary().schemas.values()
    assert texts == ["lift the red cube"] * 4
    schema = next(s for s in schemas if s.name == "tmrl_msgs/msg/ActionChunk")
    assert b"# The answer to one observation" in schema.data, "a bag explains its own units"


def _decoded(reader):
    for schema, channel, msg, ros_msg in reader.iter_decoded_messages():
        msg.ros_msg = ros_msg
        yield schema, channel, msg


def test_definitions_are_found_without_ament_prefix_path(monkeypatch):
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    assert any((folder / "msg/ActionChunk.msg").is_file() for folder in share_folders("tmrl_msgs"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/nowhere")
    assert share_folders("tmrl_msgs")


def test_types_that_are_not_installed_fall_back_to_jazzy_or_say_so():
    assert definition("tf2_msgs/msg/TFMessage").type_hash.startswith("RIHS01_e369d0f0")
    with pytest.raises(LookupError, match="no_such_msgs/msg/Thing is not installed"):
        definition("no_such_msgs/msg/Thing")


@pytest.mark.parametrize("cut", [1, 40, 400, 4000])
def test_a_bag_without_its_end_is_read_up_to_the_last_complete_chunk(tmp_path, cut):
    folder = tmp_path / "train_000000"
    pieces = episode()
    writer = write_bag(folder, pieces, flush_every=10, close=False)
    whole = read_episode(folder)
    assert not whole.complete and not is_intact(folder)
    data = writer.file.read_bytes()
    writer.file.write_bytes(data[:-cut])
    part = read_episode(folder)
    assert 0 < len(part.chunks) <= len(whole.chunks)
    assert len(list(BagStream(folder))) % 10 == 0


def test_noise_after_the_last_chunk_is_ignored(tmp_path):
    folder = tmp_path / "train_000000"
    writer = write_bag(folder, episode(), flush_every=10, close=False)
    before = len(list(BagStream(folder)))
    with writer.file.open("ab") as file:
        file.write(np.random.default_rng(0).bytes(5000))
    assert len(list(BagStream(folder))) == before


def test_repair_gives_a_cut_bag_its_index_back_once(tmp_path):
    folder = tmp_path / "train_000000"
    writer = write_bag(folder, episode(), flush_every=10, close=False)
    data = writer.file.read_bytes()
    writer.file.write_bytes(data[:-100])
    before = [tuple(m) for m in BagStream(folder)]
    assert repair_bag(folder) is Repair.REPAIRED and is_intact(folder)
    with AnyReader([folder]) as reader:
        assert reader.message_count == len(before)
    stream = BagStream(folder)
    assert [tuple(m) for m in stream] == before and stream.complete
    info = yaml.safe_load((folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert info["custom_data"]["repaired"] == "true" and info["custom_data"]["session"] == "s"
    stamp = writer.file.stat().st_mtime_ns
    assert repair_bag(folder) is Repair.INTACT and writer.file.stat().st_mtime_ns == stamp
    assert sorted(p.name for p in folder.iterdir()) == [
        "episode.json",
        "metadata.yaml",
        "train_000000_0.mcap",
    ]


def test_repair_interrupted_anywhere_can_be_done_again(tmp_path):
    folder = tmp_path / "train_000000"
    write_bag(folder, episode(), flush_every=10, close=False)
    count = len(list(BagStream(folder)))
    shutil.copytree(folder, tmp_path / "before_rename")
    (tmp_path / "before_rename" / ".repair").mkdir()
    (tmp_path / "before_rename" / ".repair" / "train_000000_0.mcap").write_bytes(b"half")
    repair_bag(folder)
    (folder / "metadata.yaml").unlink()  # killed between the two renames
    for damaged in (folder, tmp_path / "before_rename"):
        assert repair_bag(damaged) is Repair.REPAIRED
        assert len(list(BagStream(damaged))) == count and is_intact(damaged)


def test_repair_leaves_the_damaged_bag_when_the_disk_refuses(tmp_path, monkeypatch):
    folder = tmp_path / "train_000000"
    writer = write_bag(folder, episode(), flush_every=10, close=False)
    data = writer.file.read_bytes()

    def refuse(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(BagWriter, "write", refuse)
    with pytest.raises(OSError, match="No space left"):
        repair_bag(folder)
    assert writer.file.read_bytes() == data and not (folder / ".repair").exists()


def test_a_bag_without_one_complete_chunk_is_moved_aside(tmp_path):
    folder = tmp_path / "train_000000"
    writer = BagWriter(folder, custom=ABOUT)
    writer.write(EPISODE.name, EPISODE.type_name, item(event()).data, 1)
    writer.abort()  # nothing flushed yet
    assert repair_bag(folder) is Repair.EMPTY
    assert not folder.exists() and (tmp_path / "train_000000.empty-1").is_dir()


def test_an_exception_still_leaves_an_indexed_bag(tmp_path):
    folder = tmp_path / "train_000000"
    with pytest.raises(RuntimeError), BagWriter(folder, custom=ABOUT) as writer:
        writer.write(OBSERVATION.name, OBSERVATION.type_name, item(observation(0)).data, 1)
        raise RuntimeError
    assert is_intact(folder)


def test_a_repeated_episode_keeps_the_old_bag_aside(tmp_path):
    folder = tmp_path / "train_000000"
    for expected in (None, "train_000000.aborted-1", "train_000000.aborted-2"):
        aside = move_aside(folder)
        assert (aside.name if aside else None) == expected
        write_bag(folder, [event(state=EpisodeState.RESETTING)])


def test_a_folder_without_a_bag_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(BagError, match=r"is not a bag: it has no \.mcap file"):
        read_episode(tmp_path)


def test_a_recorded_bag_gives_transitions(bag):
    rows = assemble(read_episode(bag)).transitions
    assert [row.decision for row in rows] == [0, 1, 2]
    assert [row.reward for row in rows] == [0.0, 0.0, 1.0]
    assert same(rows[1].next_features, chunk(2).features)


def test_bytes_behind_the_end_of_a_message_are_ignored(tmp_path):
    said = outcome(1, result=ChunkResult.SKIPPED)
    data = bytes(serialize_message(convert.outcome_to_msg(said, 4)))
    with BagWriter(tmp_path / "bag", custom=ABOUT) as writer:
        writer.write(OUTCOME.name, OUTCOME.type_name, data + b"left behind", 1)
    (found,) = read_episode(tmp_path / "bag").outcomes
    assert same(found, said)


def test_a_bag_that_grows_large_goes_on_in_another_file_that_stands_alone(tmp_path):
    pieces = episode(decisions=6)
    with BagWriter(tmp_path / "bag", custom=ABOUT, split_bytes=20_000) as writer:
        for piece in pieces:
            put(writer, piece)
            writer.flush()
        size = writer.size
    files = sorted((tmp_path / "bag").glob("*.mcap"))
    assert [file.name for file in files] == [f"bag_{k}.mcap" for k in range(len(files))]
    assert len(files) > 2 and size <= sum(file.stat().st_size for file in files)
    every = list(BagStream(tmp_path / "bag"))
    assert len(every) == len(pieces) and is_intact(tmp_path / "bag")
    alone = [message for file in files for message in BagStream(file)]
    assert alone == every
    with AnyReader([tmp_path / "bag"]) as reader:
        assert reader.message_count == len(pieces)
        assert sum(1 for _ in reader.messages()) == len(pieces)
    assert len(read_episode(tmp_path / "bag").chunks) == 7


def test_repair_makes_one_file_of_a_split_bag_whose_recorder_was_killed(tmp_path):
    pieces = episode(decisions=6)
    writer = BagWriter(tmp_path / "bag", custom=ABOUT, split_bytes=20_000)
    for piece in pieces:
        put(writer, piece)
        writer.flush()
    writer.abort()
    assert repair_bag(tmp_path / "bag") is Repair.REPAIRED
    assert [file.name for file in (tmp_path / "bag").glob("*.mcap")] == ["bag_0.mcap"]
    assert len(list(BagStream(tmp_path / "bag"))) == len(pieces)
