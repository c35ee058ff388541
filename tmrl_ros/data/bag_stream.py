"""Messages of a bag in file order, without ROS and without the bag's index.

A bag whose recorder was killed, or whose disk was full, gives everything up to its last complete
chunk.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import zstandard
from mcap.exceptions import McapError
from mcap.records import Channel, Footer, McapRecord, Message, Schema
from mcap.records import Chunk as ChunkRecord
from mcap.stream_reader import StreamReader, breakup_chunk

from tmrl_ros.core.errors import OperatorError
from tmrl_ros.data.definitions import deserialise

MAX_RECORD_BYTES = 1 << 30
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
            ended = False
            schemas: dict[int, Schema] = {}
            channels: dict[int, Channel] = {}
            wanted: dict[int, bool] = {}
            for record in _records(path):
                if isinstance(record, Message):
                    if wanted.get(record.channel_id, False):
                        channel = channels[record.channel_id]
                        schema = schemas[channel.schema_id]
                        yield RawMessage(
                            channel.topic,
                            schema.name,
                            record.data,
                            record.log_time,
                            schema.data.decode(),
                            channel.metadata.get("offered_qos_profiles", ""),
                        )
                elif isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    channels[record.id] = record
                    wanted[record.id] = self._names is None or any(
                        is_topic(record.topic, name) for name in self._names
                    )
                elif isinstance(record, Footer):
                    ended = True
            complete = complete and ended
        self.complete = complete


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


def _records(path: Path) -> Iterator[McapRecord]:
    """Records of a file, chunks opened, up to the first one that is damaged or cut off."""
    with path.open("rb") as file:
        reader = StreamReader(file, emit_chunks=True, record_size_limit=MAX_RECORD_BYTES)
        try:
            for record in reader.records:
                if isinstance(record, ChunkRecord):
                    yield from breakup_chunk(record)
                else:
                    yield record
        except _DAMAGE:
            return
