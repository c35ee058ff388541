"""Record a session on a thread of its own: a bounded queue, the bags, an eye on the disk."""

from __future__ import annotations

import errno
import logging
import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tmrl_ros.data.bag_reader import is_aside
from tmrl_ros.data.items import Item
from tmrl_ros.data.pictures import JpegPictures
from tmrl_ros.data.repair import is_intact, repair_bag
from tmrl_ros.data.session_bags import SessionBags
from tmrl_ros.data.stop_buffer import StopBuffer

MAX_QUEUE_BYTES = 256 * 2**20
LINGER_S = 2.0
CHECK_S = 1.0
PROBE_BYTES = 1 << 20
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class RecorderStatus:
    """What the recorder tells the graph; no episode may start unless `ok`.

    `messages` and `bytes` (serialised, before compression) are those of the open bag; `dropped` (by
    the recorder) and `lost` (on the way to it) those since the recorder started.
    """

    ok: bool = True
    message: str = ""
    episode_id: str = ""
    messages: int = 0
    bytes: int = 0
    dropped: int = 0
    lost: int = 0


class Recording:
    """Takes messages without blocking and writes them to the bags of their episodes.

    Args:
        session: Folder of the session; bags go to `episodes/` in it.
        custom: What every bag of the session is about (session, hashes, versions).
        compress: zstd or plain chunks.
        min_free_bytes: With less free disk no episode may start.
        warn_free_bytes: With less free disk the operator is warned.
        split_bytes: Size above which a bag goes on in another file; 0 = never.
        stop_buffer_s: How far back the bag of a software stop reaches; 0 = no such bags.
        stop_buffer_bytes: Of messages that are kept in memory for it.
        jpeg_quality: Of colour images; 0 = as they came.
        log: Where sentences for the operator go.
        max_queue_bytes: What may wait for the disk; more is dropped, counted and reported.
        linger_s: How long a bag stays open for late messages once its episode is over.
    """

    def __init__(
        self,
        session: Path,
        *,
        custom: Mapping[str, str],
        compress: bool = True,
        min_free_bytes: float = 0.0,
        warn_free_bytes: float = 0.0,
        split_bytes: float = 0.0,
        stop_buffer_s: float = 0.0,
        stop_buffer_bytes: float = 256e6,
        jpeg_quality: int = 0,
        log: logging.Logger | None = None,
        max_queue_bytes: int = MAX_QUEUE_BYTES,
        linger_s: float = LINGER_S,
    ) -> None:
        self.repaired = False  # an earlier recorder had been killed, or its disk was full
        self._session = session
        self._folder = session / "episodes"
        self._min_free_bytes = min_free_bytes
        self._warn_free_bytes = warn_free_bytes
        self._warned = False
        self._pictures = JpegPictures(jpeg_quality) if jpeg_quality else None
        self._log = log or logging.getLogger("recorder")
        self._max_queue_bytes = max_queue_bytes
        self._bags = SessionBags(
            self._folder,
            custom=custom,
            compress=compress,
            linger_s=linger_s,
            on_fault=self._on_fault,
            log=self._log,
            split_bytes=split_bytes,
        )
        self._stops = StopBuffer(
            session,
            custom=custom,
            before_s=stop_buffer_s,
            max_bytes=stop_buffer_bytes,
            compress=compress,
            on_fault=self._on_fault,
            log=self._log,
        )
        self._wake = threading.Condition()
        self._queue: deque[Item] = deque()
        self._waiting_bytes = 0  # in the queue and in the hands of the writer
        self._overflow: Counter[str] = Counter()
        self._stopping = False
        self._fault = ""
        self._fault_is_full_disk = False
        self._check_at = 0.0
        self._free_bytes = 0.0
        self._status = RecorderStatus()
        self._thread = threading.Thread(target=self._run, name="bag writer", daemon=True)

    @property
    def status(self) -> RecorderStatus:
        """State as of the last message or check."""
        return self._status

    def start(self) -> None:
        """Repair what an earlier recorder left unfinished, look at the disk, then start writing."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._repair()
        except OSError as error:
            self._on_fault(error, f"Session folder {self._session} cannot be prepared")
        self._look_at_disk(time.monotonic())
        self._report()
        self._thread.start()

    def put(self, items: Iterable[Item]) -> int:
        """Queue messages; never blocks.

        Returns:
            How many were dropped because too much is waiting for the disk already.
        """
        dropped = 0
        with self._wake:
            for item in items:
                if self._waiting_bytes + len(item.data) > self._max_queue_bytes:
                    self._overflow[item.topic.name] += 1
                    dropped += 1
                    continue
                self._queue.append(item)
                self._waiting_bytes += len(item.data)
            self._wake.notify()
        return dropped

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what is queued, close every bag and stop; does nothing when not started."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                self._log.error(f"The disk took longer than {timeout_s} s; a bag stays unfinished.")

    def _run(self) -> None:
        try:
            while True:
                with self._wake:
                    if not (self._queue or self._overflow or self._stopping):
                        self._wake.wait(0.2)
                    items, self._queue = self._queue, deque()
                    overflow, self._overflow = self._overflow, Counter()
                    stopping = self._stopping
                for item in items:
                    self._take(item)
                    with self._wake:
                        self._waiting_bytes -= len(item.data)
                self._count_overflow(overflow)
                now = time.monotonic()
                self._bags.keep_house(now)
                self._stops.keep_house()
                if now >= self._check_at:
                    self._look_at_disk(now)
                self._report()
                if stopping and not items:
                    return
        finally:
            self._bags.close()
            self._stops.close()
            self._report()

    def _take(self, item: Item) -> None:
        try:
            if self._pictures is not None:
                item = self._pictures.take(item)
            self._bags.take(item)
            self._stops.take(item)
        except Exception:  # one message that cannot be understood must not end the recording
            self._bags.count_dropped(Counter({item.topic.name: 1}))
            self._log.exception(f"A message of {item.topic.name} cannot be recorded")

    def _count_overflow(self, overflow: Counter[str]) -> None:
        if not overflow:
            return
        if self._pictures is not None:
            named = {self._pictures.name(topic): count for topic, count in overflow.items()}
            overflow = Counter(named)
        self._bags.count_overflow(overflow)
        self._log.error(
            f"The recorder cannot keep up: {overflow.total()} messages are not recorded because "
            f"{self._max_queue_bytes / 1e6:.0f} MB wait for the disk already ({dict(overflow)}). "
            "Use a faster disk, leave the recorder more processor time, or record no cameras "
            "(recorder.cameras=none)."
        )

    def _look_at_disk(self, now: float) -> None:
        """Measure free space; once a full disk has room again, repair what it cut off and go on."""
        self._check_at = now + CHECK_S
        try:
            self._free_bytes = float(shutil.disk_usage(self._session).free)
        except OSError:
            self._free_bytes = 0.0
        self._warn()
        room = self._free_bytes >= self._min_free_bytes
        if self._fault and self._fault_is_full_disk and room and self._probe():
            self._log.info("There is room on the disk again: recording goes on.")
            self._fault = ""

    def _warn(self) -> None:
        """Say once that the disk fills up, and again when it had room in between."""
        low = self._free_bytes < self._warn_free_bytes
        if low and not self._warned:
            self._log.warning(
                f"{self._free_bytes / 1e6:.0f} MB are free for {self._session}, less than "
                f"recorder.warn_free_mb={self._warn_free_bytes / 1e6:.0f}; no episode will start "
                f"below recorder.min_free_mb={self._min_free_bytes / 1e6:.0f}."
            )
        self._warned = low

    def _probe(self) -> bool:
        file = self._session / ".recorder-probe"
        try:
            file.write_bytes(bytes(PROBE_BYTES))
            self._repair()
        except OSError:
            return False
        finally:
            with suppress(OSError):
                file.unlink(missing_ok=True)
        return True

    def _repair(self) -> None:
        for folder in sorted(self._folder.iterdir()):
            if folder.name in self._bags.open or not folder.is_dir() or is_aside(folder.name):
                continue
            if not is_intact(folder):
                found = repair_bag(folder)
                self.repaired = True
                self._log.warning(f"Bag {folder.name} was left unfinished: {found.value} now.")

    def _on_fault(self, error: OSError, what: str) -> None:
        self._fault_is_full_disk = error.errno in _DISK_FULL
        advice = (
            "free some space"
            if self._fault_is_full_disk
            else "see to it, then restart the recorder"
        )
        self._fault = f"{what} ({error.strerror or error}): {advice}. No episode starts."
        self._log.error(self._fault)

    def _report(self) -> None:
        message = self._fault
        if not message and self._free_bytes < self._min_free_bytes:
            message = (
                f"Only {self._free_bytes / 1e6:.0f} MB are free for {self._session}, less than "
                f"recorder.min_free_mb={self._min_free_bytes / 1e6:.0f}: delete old sessions or "
                "lower the limit. No episode starts."
            )
        bag = self._bags.current
        self._status = RecorderStatus(
            ok=not message,
            message=message,
            episode_id=bag.episode_id if bag else "",
            messages=bag.writer.counts.total() if bag else 0,
            bytes=bag.writer.bytes_in if bag else 0,
            dropped=self._bags.dropped,
            lost=self._bags.lost,
        )
