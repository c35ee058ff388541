"""The last seconds before a software stop, kept in memory and written as a bag of their own.

Episodes' bags leave out what happens between episodes, and end two seconds after theirs. Whatever
latches the stop, `stops/<time>-<code>` holds everything that was said around it.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tmrl_ros.core.types import NANOSECONDS
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.data.decode import to_ns
from tmrl_ros.data.definitions import definition, deserialise
from tmrl_ros.data.items import Item, episode_of

STOPS_FOLDER = "stops"
SAFETY_TYPE = "tmrl_msgs/msg/SafetyState"
LATCHED = 0  # SafetyState.STATE_LATCHED
NO_EVENTS = ("START", "SHUTDOWN")
"""Codes that only say that the supervisor begins or ends."""
AFTER_S = 2.0
SLICE_BYTES = 16 * 2**20
"""Written at a time: the recorder's queue must not wait for a whole bag."""


@dataclass
class _Dump:
    """One bag that is being filled."""

    code: str
    until_ns: int
    about: dict[str, str]
    items: deque[Item]
    writer: BagWriter | None = None


@dataclass
class StopBuffer:
    """A ring of messages in memory; used from one thread.

    Attributes:
        session: The session's folder; bags go to `stops/` in it.
        custom: What every bag of the session is about.
        before_s: How far back the ring reaches; 0 = no bags of stops.
        max_bytes: Of messages in the ring; the oldest go first.
        compress: zstd or plain chunks.
        on_fault: Told about what the file system refused, with a sentence's beginning.
        log: Where sentences for the operator go.
        after_s: How long what follows a stop still belongs to it.
        clock_ns: Wall clock, as messages are stamped with.
    """

    session: Path
    custom: Mapping[str, str]
    before_s: float
    max_bytes: float
    compress: bool
    on_fault: Callable[[OSError, str], None]
    log: logging.Logger
    after_s: float = AFTER_S
    clock_ns: Callable[[], int] = time.time_ns
    _ring: deque[Item] = field(default_factory=deque)
    _bytes: int = 0
    _latest: dict[str, Item] = field(default_factory=dict)
    _said: tuple[int, str] | None = None
    _episode: str = ""
    _dump: _Dump | None = None

    def take(self, item: Item) -> None:
        """Keep one message; a stop that latches begins a bag."""
        if self.before_s <= 0:
            return
        self._ring.append(item)
        self._bytes += len(item.data)
        oldest_ns = item.stamp_ns - round(self.before_s * NANOSECONDS)
        while self._ring and (self._ring[0].stamp_ns < oldest_ns or self._bytes > self.max_bytes):
            gone = self._ring.popleft()
            self._bytes -= len(gone.data)
            if gone.topic.latched:
                self._latest[gone.topic.name] = gone
        self._episode = episode_of(item.topic.type_name, item.data) or self._episode
        dump = self._dump
        if dump is not None and dump.writer is None and item.stamp_ns <= dump.until_ns:
            dump.items.append(item)
        if item.topic.type_name == SAFETY_TYPE:
            self._on_safety(item)

    def keep_house(self) -> None:
        """Write a part of a bag that is due."""
        dump = self._dump
        if dump is None or self.clock_ns() < dump.until_ns:
            return
        try:
            if dump.writer is None:
                dump.writer = BagWriter(
                    self._free_folder(dump), custom=dump.about, compress=self.compress
                )
            written = 0
            while dump.items and written < SLICE_BYTES:
                topic, data, stamp_ns, _, _, qos = dump.items.popleft()
                dump.writer.write(topic.name, topic.type_name, data, stamp_ns, qos=qos)
                written += len(data)
            if not dump.items:
                self._finish(dump)
        except OSError as error:
            self._dump = None
            if dump.writer is not None:
                dump.writer.abort()
            self.on_fault(error, f"The bag of the stop {dump.code} cannot be written")

    def close(self) -> None:
        """Write what is due or has begun, without waiting for more."""
        if self._dump is not None:
            self._dump.until_ns = 0
        while self._dump is not None:
            self.keep_house()

    def _on_safety(self, item: Item) -> None:
        text = definition(SAFETY_TYPE).text
        msg = deserialise(item.data, SAFETY_TYPE, text)
        said = (to_ns(msg.latched_at), str(msg.code))
        is_new, self._said = self._said not in (None, said), said
        if not is_new or int(msg.state) != LATCHED or said[1] in ("", *NO_EVENTS):
            return
        if self._dump is not None:  # one stop after the other: the same bag
            return
        about = {
            **self.custom,
            "episode_id": self._episode,
            "code": str(msg.code),
            "message": str(msg.message),
            "value": str(msg.value),
            "latched_ns": str(said[0]),
            "started_ns": str(self._ring[0].stamp_ns),
        }
        first_ns = self._ring[0].stamp_ns
        opening = [known._replace(stamp_ns=first_ns) for known in self._latest.values()]
        until_ns = item.stamp_ns + round(self.after_s * NANOSECONDS)
        self._dump = _Dump(str(msg.code), until_ns, about, deque([*opening, *self._ring]))

    def _finish(self, dump: _Dump) -> None:
        assert dump.writer is not None
        dump.writer.close()
        self._dump = None
        count, folder = dump.writer.counts.total(), dump.writer.folder
        self.log.info(
            f"Stop {dump.code}: {count} messages around it are in {STOPS_FOLDER}/{folder.name}."
        )

    def _free_folder(self, dump: _Dump) -> Path:
        """`stops/<UTC time>-<code>`, with a number where that is taken."""
        latched_s = int(dump.about["latched_ns"] or 0) / NANOSECONDS or time.time()
        name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(latched_s))}-{dump.code}"
        folder = self.session / STOPS_FOLDER / name
        numbered = (folder.with_name(f"{name}-{number}") for number in range(2, 1000))
        return folder if not folder.exists() else next(f for f in numbered if not f.exists())
