"""Write one episode into one MCAP bag in rosbag2 layout, from raw serialised messages.

`<folder>/metadata.yaml` (rosbag2 version 9, Jazzy), `<folder>/<name>_0.mcap`, `_1` and so on where
it is split (message definitions, RIHS01 type hashes, zstd chunks), and `<folder>/episode.json`
(what the bag is about, written first so that a bag whose recorder was killed still tells).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from backports import zstd
from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
    Qos,
)
from rosbags.rosbag2 import CompressionMode
from rosbags.rosbag2.storage_mcap import McapWriter

from tmrl_ros.data.bag_metadata import (
    VERSION,
    FilePart,
    TopicEntry,
    bag_information,
    qos_text,
    to_yaml,
)
from tmrl_ros.data.definitions import Definition, definition
from tmrl_ros.data.episodes_log import write_bytes_atomic, write_json_atomic

ABOUT_FILE = "episode.json"
METADATA_FILE = "metadata.yaml"
ZSTD_LEVEL = 1


def move_aside(folder: Path, label: str = "aborted") -> Path | None:
    """Rename an existing folder to `<folder>.<label>-N`; return its new path if there was one."""
    if not folder.exists():
        return None
    aside = free_name(folder, label)
    folder.rename(aside)
    return aside


def free_name(folder: Path, label: str) -> Path:
    """First unused `<folder>.<label>-N`, N = 1, 2, ..."""
    number = 1
    while (path := folder.with_name(f"{folder.name}.{label}-{number}")).exists():
        number += 1
    return path


class BagWriter:
    """One open bag. Use as a context manager, or call `close` in `finally`.

    Args:
        folder: Folder of the bag; it must not exist.
        custom: What the bag is about (session, task, seed, versions, ...), stored in
            `metadata.yaml`.
        compress: zstd-compressed chunks (still indexed, read by every MCAP tool) rather than plain
            ones.
        name: Stem of the MCAP file, the folder's name by default.
        split_bytes: A file that has grown so large is closed with its index, and another one goes
            on; 0 = never.
    """

    def __init__(
        self,
        folder: Path,
        *,
        custom: Mapping[str, str],
        compress: bool = True,
        name: str | None = None,
        split_bytes: float = 0.0,
    ) -> None:
        self.folder = folder
        self._stem = name or folder.name
        self._split_bytes = split_bytes
        self._parts: list[FilePart] = []
        self.file = folder / f"{self._stem}_0.mcap"
        self.custom = dict(custom)
        self.counts: Counter[str] = Counter()
        self.bytes_in = 0
        self._connections: dict[str, Connection] = {}
        self._types: set[str] = set()
        self._compress = compress
        folder.mkdir(parents=True)
        self._storage: _Storage | None = _Storage(self.file, compress=compress)
        try:
            write_json_atomic(folder / ABOUT_FILE, self.custom, durable=False)
        except BaseException:
            self.abort()
            raise

    def write(
        self,
        topic: str,
        type_name: str,
        data: bytes,
        stamp_ns: int,
        *,
        qos: Qos | None = None,
        known: Definition | None = None,
    ) -> None:
        """Append one serialised message.

        Args:
            topic: Absolute topic name.
            type_name: e.g. `tmrl_msgs/msg/Observation`.
            data: CDR bytes with their encapsulation header, as they came from the wire.
            stamp_ns: When it was received, ns since the epoch.
            qos: Offered QoS, used with the topic's first message.
            known: Definition of the type; looked up in the installation by default.

        Raises:
            OSError: The file system refuses (full, too large, gone); call `abort` then.
            LookupError: The type is not known.
            ValueError: The bag is closed.
        """
        if self._storage is None:
            raise ValueError(f"Bag {self.folder} is closed.")
        if self._split_bytes and self._storage.size >= self._split_bytes:
            self._next_file()
        connection = self._connections.get(topic)
        if connection is None:
            connection = self._connect(self._storage, topic, type_name, qos, known)
        self._storage.write(connection, stamp_ns, data)
        self.counts[topic] += 1
        self.bytes_in += len(data)

    def flush(self) -> None:
        """Close the chunk being filled, so that a kill loses nothing written so far.

        Raises:
            OSError: The file system refuses; call `abort` then.
        """
        if self._storage is not None and self._storage.chunk.msgs:
            self._storage.close_chunk()

    def close(self, extra: Mapping[str, str] | None = None) -> None:
        """Write index and `metadata.yaml`; does nothing when already closed or aborted.

        Args:
            extra: More custom data, known only now (outcome, counts).

        Raises:
            OSError: The file system refuses; the bag is left as a killed recorder would leave it.
        """
        if self._storage is None:
            return
        self.custom.update(extra or {})
        information = self._information()
        text = to_yaml({"rosbag2_bagfile_information": information})
        try:
            self._storage.close(VERSION, to_yaml(information).strip())
            self._storage = None
            write_bytes_atomic(self.folder / METADATA_FILE, text.encode(), durable=False)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Let go of the file without an index; `repair` makes such a bag readable."""
        storage, self._storage = self._storage, None
        if storage is not None:
            with suppress(OSError):  # what is still buffered may be refused again
                storage.abort()

    @property
    def size(self) -> int:
        """Bytes of all files of the bag on the disk."""
        names = [*(part.name for part in self._parts), self.file.name]
        files = [self.folder / name for name in dict.fromkeys(names)]
        return sum(file.stat().st_size for file in files if file.exists())

    def _information(self) -> dict[str, Any]:
        """The bag's metadata up to now."""
        storage = self._storage
        last = [] if storage is None else [storage.part(self.file.name)]
        topics = [
            TopicEntry(item.topic, item.msgtype, item.digest, _qos_of(item), self.counts[name])
            for name, item in self._connections.items()
        ]
        return bag_information([*self._parts, *last], topics, custom=self.custom)

    def _next_file(self) -> None:
        """Close the file with its index and go on in another one, which knows the same topics."""
        assert self._storage is not None
        part = self._storage.part(self.file.name)
        self._storage.close(VERSION, to_yaml(self._information()).strip())
        self._parts.append(part)
        self.file = self.folder / f"{self._stem}_{len(self._parts)}.mcap"
        self._storage = _Storage(self.file, compress=self._compress)
        self._types = set()
        for connection in self._connections.values():
            self._register(self._storage, connection)

    def _register(self, storage: _Storage, connection: Connection) -> None:
        if connection.msgtype not in self._types:
            self._types.add(connection.msgtype)
            storage.add_msgtype(connection)
        storage.add_connection(connection, qos_text(_qos_of(connection)))

    def _connect(
        self,
        storage: _Storage,
        topic: str,
        type_name: str,
        qos: Qos | None,
        known: Definition | None,
    ) -> Connection:
        known = known or definition(type_name)
        connection = Connection(
            id=len(self._connections) + 1,
            topic=topic,
            msgtype=type_name,
            msgdef=MessageDefinition(MessageDefinitionFormat.MSG, known.text),
            digest=known.type_hash,
            msgcount=0,
            ext=ConnectionExtRosbag2("cdr", [qos] if qos else []),
            owner=self,
        )
        self._register(storage, connection)
        self._connections[topic] = connection
        return connection

    def __enter__(self) -> Self:
        """The open bag."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close with an index, whatever happened."""
        self.close()


class _Storage(McapWriter):
    """The library's MCAP file under rosbag2's name, compressed fast, chunks handed over at once."""

    def __init__(self, file: Path, *, compress: bool) -> None:
        mode = CompressionMode.STORAGE if compress else CompressionMode.NONE
        super().__init__(file.parent, mode)
        self.path = self.path.rename(file)
        if compress:
            self.compressor = _compress
        self.bio.flush()

    @property
    def size(self) -> int:
        """Bytes of the file, as far as its chunks are closed."""
        return int(self.bio.tell())

    def part(self, name: str) -> FilePart:
        """What the bag's metadata say of this file."""
        count = sum(self.channel_stats.values())
        start_ns = self.message_start_time if count else 0
        return FilePart(name, start_ns, self.message_end_time, count)

    def close_chunk(self) -> None:
        super().close_chunk()
        self.bio.flush()


def _compress(data: bytes) -> bytes:
    return zstd.compress(data, level=ZSTD_LEVEL)


def _qos_of(connection: Connection) -> Qos | None:
    profiles = getattr(connection.ext, "offered_qos_profiles", [])
    return next(iter(profiles), None)
