"""Messages of a bag in file order, without ROS and without the bag's index.

A bag whose recorder was killed, or whose disk was full, gives everything up to its last complete
chunk.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from os import SEEK_CUR
from pathlib import Path
from typing import IO, Any, NamedTuple

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Schema
from mcap.records import Chunk as ChunkRecord
from mcap.stream_reader import MAGIC_SIZE, get_chunk_data_stream, read_magic

from tmrl_ros.core.errors import OperatorError
from tmrl_ros.data.definitions import deserialise

MAX_RECORD_BYTES = 1 << 30
_HEAD = struct.Struct("<BQ")  # opcode and length of a record
_SKIPPED = (Opcode.MESSAGE_INDEX, Opcode.CHUNK_INDEX, Opcode.STATISTICS, Opcode.SUMMARY_OFFSET)
_MESSAGE = struct.Struct("<HIQQ")  # channel, number, received, sent
_DAMAGE = (McapError, struct.error, zstandard.ZstdError, ValueError, KeyError, EOFError)


class BagError(OperatorError):
    """A bag that is missing or is no bag."""


class RawMessage(NamedTuple):
    """One message as it was recorded: `data` is CDR, `stamp_ns` the time it was received."""

    topic: str
    type_name: str
    data: bytes
    stamp_ns: int
    definition: str
    qos: str

    def decode(self) -> Any:
        """The message, by the definition in the bag."""
        return deserialise(self.data, self.type_name, self.definition)


class BagStream:
    """Messages of a bag in file order. `complete` tells afterwards whether its end was there.

    Args:
        path: Folder of a bag, or one `.mcap` file.
        names: Relative topic names wanted (`episode` matches `/episode` and `/cell1/episode`), None
            for all.

    Raises:
        BagError: There is no `.mcap` file.
    """

    def __init__(self, path: Path, names: Collection[str] | None = None) -> None:
        self.files = bag_files(path)
        self.complete = False
        self._names = names

    def __iter__(self) -> Iterator[RawMessage]:
        """Read from the start."""
        complete = True
        for path in self.files:
            file = _File(self._names)
            yield from file.messages(path)
            complete = complete and file.ended
        self.complete = complete


@dataclass
class _File:
    """The channels of one MCAP file.

    Records are stepped over by their length, and only those of wanted channels are copied: most
    messages of a bag are none of a reader's business.
    """

    names: Collection[str] | None
    ended: bool = False
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, tuple[str, str, str, str] | None] = field(default_factory=dict)
    """Topic, type, definition and QoS of a wanted channel; None of another."""

    def messages(self, path: Path) -> Iterator[RawMessage]:
        """Wanted messages up to the first record that is damaged or cut off."""
        try:
            with path.open("rb") as file:
                read_magic(ReadDataStream(BytesIO(file.read(MAGIC_SIZE))))
                for opcode, body in _records(file):
                    if opcode != Opcode.CHUNK:
                        yield from self._take(opcode, body)
                        continue
                    chunk = ChunkRecord.read(ReadDataStream(BytesIO(body)))
                    stream, length = get_chunk_data_stream(chunk)
                    yield from self._walk(stream.read(length))
        except _DAMAGE:
            return

    def _walk(self, data: bytes) -> Iterator[RawMessage]:
        at, end = 0, len(data)
        while at < end:
            opcode, length = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            if at + length > end:
                raise EOFError("a record ends after its chunk")
            if opcode != Opcode.MESSAGE or self.channels.get(_MESSAGE.unpack_from(data, at)[0]):
                yield from self._take(opcode, data[at : at + length])
            at += length

    def _take(self, opcode: int, body: bytes) -> Iterator[RawMessage]:
        if opcode == Opcode.MESSAGE:
            channel_id, _, log_time, _ = _MESSAGE.unpack_from(body)
            if (known := self.channels.get(channel_id)) is not None:
                topic, type_name, text, qos = known
                yield RawMessage(topic, type_name, body[_MESSAGE.size :], log_time, text, qos)
        elif opcode == Opcode.SCHEMA:
            schema = Schema.read(ReadDataStream(BytesIO(body)))
            self.schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            channel = Channel.read(ReadDataStream(BytesIO(body)))
            schema = self.schemas[channel.schema_id]
            wanted = self.names is None or any(is_topic(channel.topic, n) for n in self.names)
            qos = channel.metadata.get("offered_qos_profiles", "")
            text = schema.data.decode()
            self.channels[channel.id] = (channel.topic, schema.name, text, qos) if wanted else None
        elif opcode == Opcode.FOOTER:
            self.ended = True


def is_topic(topic: str, name: str) -> bool:
    """Whether an absolute topic is the graph's `name`, in any namespace."""
    return topic.endswith("/" + name)


def bag_files(path: Path) -> list[Path]:
    """`.mcap` files of a bag in recording order.

    Raises:
        BagError: There is none.
    """
    if path.is_file():
        return [path]
    files = sorted(path.glob("*.mcap"), key=lambda file: (len(file.name), file.name))
    if not files:
        raise BagError(f"{path} is not a bag: it has no .mcap file.")
    return files


def _records(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Opcode and body of every record that matters here, up to the footer or a torn end.

    Raises:
        EOFError: A record is longer than what is left, or than can be.
    """
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        opcode, length = _HEAD.unpack(head)
        if length > MAX_RECORD_BYTES:
            raise EOFError(f"a record of {length} bytes")
        if opcode in _SKIPPED:
            file.seek(length, SEEK_CUR)
            continue
        body = file.read(length)
        if len(body) < length:
            raise EOFError("the file ends within a record")
        yield opcode, body
        if opcode == Opcode.FOOTER:
            return
