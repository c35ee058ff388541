"""Chunks in which a person moved the arm: what bags say of them, and what is learned from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from recorded import STEPS, chunk, episode, message, outcome, put
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import ChunkResult, ChunkSource, Outcome
from tmrl_ros.data import decode
from tmrl_ros.data.assembler import EpisodeAssembler, assemble
from tmrl_ros.data.bag_reader import read_episode
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.data.definitions import definition, deserialise
from tmrl_ros.data.plans import plan_of, plans_of
from tmrl_ros.learning.usable import usable

NAME = "train_000000"
TYPE = "tmrl_msgs/msg/ChunkOutcome"
POLICY, RESET, HUMAN = int(ChunkSource.POLICY), int(ChunkSource.RESET), int(ChunkSource.HUMAN)


def taken(piece):
    """A person moved the arm in the last rows of decision 1."""
    mine = isinstance(piece, Outcome) and piece.source is ChunkSource.POLICY
    if not mine or piece.decision != 1:
        return piece
    sources = np.full(piece.steps_sent, HUMAN, np.uint8)
    sources[0] = POLICY
    return replace(piece, sources=sources)


PIECES = [taken(piece) for piece in episode(NAME)]


def rows():
    assembler = EpisodeAssembler(NAME)
    for piece in PIECES:
        if hasattr(piece, "episode_id") and not hasattr(piece, "camera_names"):
            assembler.add(piece)
    return assembler.finish().transitions


@pytest.fixture
def bag(tmp_path):
    writer = BagWriter(tmp_path / NAME, custom={"episode_id": NAME}, compress=True)
    for piece in PIECES:
        put(writer, piece)
    writer.close({"outcome": "success"})
    return tmp_path / NAME


def test_a_bag_says_who_asked_for_every_row(bag):
    found = {(item.source, item.decision): item for item in read_episode(bag).outcomes}
    done = found[ChunkSource.POLICY, 1]
    assert done.sources.tolist() == [POLICY] + [HUMAN] * (STEPS - 1)
    assert done.human_steps == STEPS - 1
    assert found[ChunkSource.POLICY, 0].sources.tolist() == [POLICY] * STEPS
    assert found[ChunkSource.RESET, 0].sources.tolist() == [RESET] * STEPS


def test_the_bag_and_the_live_messages_make_the_same_rows(bag):
    live, recorded = rows(), assemble(read_episode(bag)).transitions
    assert len(live) == len(recorded) == 3
    for one, other in zip(live, recorded, strict=True):
        assert one.human_steps == other.human_steps
        np.testing.assert_array_equal(one.plan, other.plan)
        np.testing.assert_array_equal(one.executed, other.executed)
        np.testing.assert_array_equal(one.next_plans, other.next_plans)


@pytest.mark.parametrize("source", [ChunkSource.POLICY, ChunkSource.RESET])
def test_an_older_bag_has_every_row_from_the_chunk_s_source(source):
    text = definition(TYPE).text
    (line,) = [line for line in text.splitlines() if line.startswith("uint8[] sources")]
    older = text.replace(line + "\n", "")
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(older, TYPE))
    new = message(outcome(1, source=source))
    kind = store.types[TYPE]
    header = store.types["std_msgs/msg/Header"](
        store.types["builtin_interfaces/msg/Time"](new.header.stamp.sec, new.header.stamp.nanosec),
        "",
    )
    names = [name for name in kind.__dataclass_fields__ if not name.startswith("__")]
    values = {name: getattr(new, name) for name in names if name != "header"}
    values |= {name: np.array(values[name]) for name in ("executed", "measured")}
    data = bytes(store.serialize_cdr(kind(header=header, **values), TYPE))
    found = decode.outcome(deserialise(data, TYPE, older))
    assert found.sources.tolist() == [int(source)] * STEPS
    assert found.human_steps == 0


def test_sources_of_another_number_of_rows_are_refused():
    msg = message(outcome(1))
    msg.sources = bytes([POLICY])
    with pytest.raises(ValueError, match=f"sources of 1 rows and sent {STEPS}"):
        decode.outcome(msg)


def test_the_plan_of_such_a_row_is_what_was_executed():
    first, second, _ = rows()
    assert (first.human_steps, second.human_steps) == (0, STEPS - 1)
    np.testing.assert_array_equal(first.plan, plans_of(chunk(0))[0])
    executed = outcome(1).executed
    rest = np.repeat(executed[-1:], len(chunk(1).actions) - STEPS, axis=0)
    np.testing.assert_array_equal(second.plan, plan_of(np.concatenate([executed, rest])))
    np.testing.assert_array_equal(first.next_plans, plans_of(chunk(1)), "the policy's, as before")


@pytest.mark.parametrize("method", ["tmrl", "expo", "rlpd", "vgps"])
def test_methods_that_judge_motion_learn_from_it(method):
    config = load_config([f"method={method}"]).method
    assert [row.human_steps for row in usable(rows(), config, 5)] == [0, STEPS - 1, 0]


@pytest.mark.parametrize("method", ["dsrl", "tmrl_paper"])
def test_methods_that_judge_noise_leave_it_out(method):
    config = load_config([f"method={method}"]).method
    made = [replace(row, edited=False, t_context=0.0) for row in rows()]
    assert [row.decision for row in usable(made, config, 5)] == [0, 2]


def test_a_chunk_that_a_released_button_ended_makes_no_row():
    pieces = [
        replace(piece, result=ChunkResult.ABORTED, reason="HOLD_RELEASED")
        if isinstance(piece, Outcome) and piece.sequence == outcome(1).sequence
        else piece
        for piece in PIECES
    ]
    assembler = EpisodeAssembler(NAME)
    for piece in pieces:
        if hasattr(piece, "episode_id") and not hasattr(piece, "camera_names"):
            assembler.add(piece)
    found = assembler.finish()
    assert [row.decision for row in found.transitions] == [0, 2]
    assert found.dropped == {"not_executed": 1}
