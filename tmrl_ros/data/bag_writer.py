"""Write one episode into one MCAP bag in rosbag2 layout, from raw serialised messages.

`<folder>/metadata.yaml` (rosbag2 version 9, Jazzy), `<folder>/<name>_0.mcap` (message definitions,
RIHS01 type hashes, zstd chunks) and `<folder>/episode.json` (what the bag is about, written first
so that a bag whose recorder was killed still tells).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from backports import zstd
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import McapWriter

from tmrl_ros.data.definitions import Definition, definition
from tmrl_ros.data.episodes_log import write_json_atomic

ABOUT_FILE = "episode.json"
ZSTD_LEVEL = 1
_FOREVER = QosTime(9223372036, 854775807)


def offered_qos(*, reliable: bool, latched: bool, depth: int) -> Qos:
    """QoS profile of a publisher as it is written into the bag."""
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=depth,
        reliability=QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=_FOREVER,
        lifespan=_FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER,
        avoid_ros_namespace_conventions=False,
    )


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
    """

    def __init__(
        self,
        folder: Path,
        *,
        custom: Mapping[str, str],
        compress: bool = True,
        name: str | None = None,
    ) -> None:
        self.folder = folder
        self.custom = dict(custom)
        self.counts: Counter[str] = Counter()
        self.bytes_in = 0
        self._connections: dict[str, Connection] = {}
        self._writer = _RosbagWriter(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.stem = name or folder.name
        self._writer.compression_mode = (
            CompressionMode.STORAGE if compress else CompressionMode.NONE
        )
        self._writer.open()
        try:
            write_json_atomic(folder / ABOUT_FILE, self.custom, durable=False)
        except BaseException:
            self.abort()
            raise

    @property
    def file(self) -> Path:
        """Path of the MCAP file."""
        return self.folder / f"{self._writer.stem}_0.mcap"

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
        """
        connection = self._connections.get(topic)
        if connection is None:
            known = known or definition(type_name)
            connection = self._writer.add_connection(
                topic,
                type_name,
                msgdef=known.text,
                rihs01=known.type_hash,
                offered_qos_profiles=[qos] if qos else [],
            )
            self._connections[topic] = connection
        self._writer.write(connection, stamp_ns, data)
        self.counts[topic] += 1
        self.bytes_in += len(data)

    def flush(self) -> None:
        """Close the chunk being filled, so that a kill loses nothing written so far."""
        if isinstance(storage := self._writer.storage, McapWriter) and storage.chunk.msgs:
            storage.close_chunk()

    def close(self, extra: Mapping[str, str] | None = None) -> None:
        """Write index and `metadata.yaml`; does nothing when already closed or aborted.

        Args:
            extra: More custom data, known only now (outcome, counts).

        Raises:
            OSError: The file system refuses; the bag is left as a killed recorder would leave it.
        """
        if self._writer.storage is None:
            return
        self.custom.update(extra or {})
        self._writer.custom_data.update(self.custom)
        try:
            self._writer.close()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Let go of the file without an index; `repair` makes such a bag readable."""
        with suppress(OSError):  # what is still buffered may be refused again
            self._writer.abort()

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


class _RosbagWriter(Writer):
    """The library's writer with the file name of official rosbag2."""

    stem = ""

    def open(self) -> None:
        self.path.mkdir(parents=True)
        self.storage = _Storage(self.path, self.compression_mode, self.stem)


class _Storage(McapWriter):
    """MCAP storage in `<stem>_0.mcap`, compressed fast, finished chunks handed over at once."""

    def __init__(self, path: Path, compression: CompressionMode, stem: str) -> None:
        super().__init__(path, compression)
        self.path = self.path.rename(path / f"{stem}_0.mcap")
        if self.compression:
            self.compressor = _compress
        self.bio.flush()

    def close_chunk(self) -> None:
        super().close_chunk()
        self.bio.flush()


def _compress(data: bytes) -> bytes:
    return zstd.compress(data, level=ZSTD_LEVEL)
