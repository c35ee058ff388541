"""Which message goes into which bag: one bag per episode, opened at RESETTING.

The previous bag stays open a moment longer for messages that come late; those that name their
episode find its bag by that name. The last message of latched topics opens every bag.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tmrl_ros.core.types import Episode, EpisodeState
from tmrl_ros.data import decode
from tmrl_ros.data.assembler import by_person
from tmrl_ros.data.bag_reader import read_about
from tmrl_ros.data.bag_writer import BagWriter, free_name, move_aside
from tmrl_ros.data.definitions import definition, deserialise
from tmrl_ros.data.episodes_log import write_json_atomic
from tmrl_ros.data.gaps import GapCounter
from tmrl_ros.data.items import EPISODE_TYPE, Item, episode_of

COUNTS_FILE = "counts.json"
FLUSH_S = 0.5
MADE_BY = {
    "tmrl_msgs/msg/ActionChunk": {"bundle_hash": "bundle_hash"},
    "tmrl_msgs/msg/RewardEstimate": {"reward_model": "model", "reward_hash": "model_hash"},
}
"""By type of message: names in the bag's metadata, and the fields that they are taken from."""


@dataclass
class OpenBag:
    """The bag of one episode while it is written."""

    writer: BagWriter
    episode_id: str
    reset_ns: int
    flush_at: float
    received: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    failure: str = ""
    close_at: float | None = None
    ended: Episode | None = None
    made_by: dict[str, str] = field(default_factory=dict)


class SessionBags:
    """The open bags of a session; used from one thread.

    Args:
        folder: Where the bags go.
        custom: What every bag of the session is about.
        compress: zstd or plain chunks.
        linger_s: How long a bag stays open for late messages once its episode is over.
        split_bytes: Size above which a bag goes on in another file; 0 = never.
        on_fault: Told about what the file system refused, with a sentence's beginning.
        log: Where sentences for the operator go.
    """

    def __init__(
        self,
        folder: Path,
        *,
        custom: Mapping[str, str],
        compress: bool,
        linger_s: float,
        on_fault: Callable[[OSError, str], None],
        log: logging.Logger,
        split_bytes: float = 0.0,
    ) -> None:
        self.open: dict[str, OpenBag] = {}
        self.current: OpenBag | None = None
        self.dropped = 0
        self._gaps_seen = 0
        self._gaps_known = 0
        self._numbered: set[str] = set()
        self._folder = folder
        self._custom = dict(custom)
        self._compress = compress
        self._split_bytes = split_bytes
        self._linger_s = linger_s
        self._on_fault = on_fault
        self._log = log
        self._latest: dict[str, Item] = {}
        self._gaps = GapCounter()
        self._refused = False  # an episode is running whose bag could not be opened

    def take(self, item: Item) -> None:
        """Put one message where it belongs; never raises for what the file system refuses."""
        topic = item.topic
        if topic.type_name == EPISODE_TYPE:
            text = definition(EPISODE_TYPE).text
            self._on_episode(decode.episode(deserialise(item.data, EPISODE_TYPE, text)), item)
        elif topic.latched:
            self._latest[topic.name] = item
        name = episode_of(topic.type_name, item.data)
        bag = self.open.get(name or "", self.current)
        gap = self._gaps.take(item)
        self._gaps_seen += gap
        if item.number and topic.numbered:
            self._numbered.add(topic.name)
        if bag is not None:
            bag.lost[topic.name] += gap
            self._write(bag, item)
            if name == bag.episode_id:
                _note(bag, item)
        elif name or self._refused:  # part of an episode that has no bag
            self.dropped += 1

    def count_dropped(self, dropped: Counter[str]) -> None:
        """Note messages that never came here."""
        self.dropped += sum(dropped.values())
        if self.current is not None:
            self.current.received.update(dropped)
            self.current.dropped.update(dropped)

    def count_overflow(self, dropped: Counter[str]) -> None:
        """Note messages that the recorder had no room for.

        Their numbers are missed as well, sooner or later; they are not lost on the way, too.
        """
        self.count_dropped(dropped)
        missed = Counter({name: n for name, n in dropped.items() if name in self._numbered})
        self._gaps_known += missed.total()
        if self.current is not None:
            self.current.lost.subtract(missed)

    @property
    def lost(self) -> int:
        """Messages that were lost on the way to the recorder."""
        return max(0, self._gaps_seen - self._gaps_known)

    def keep_house(self, now: float) -> None:
        """Close the bags that are due and hand what was written to the system."""
        for bag in list(self.open.values()):
            if bag.close_at is not None and now >= bag.close_at:
                self._close(bag)
            elif now >= bag.flush_at and not bag.failure:
                bag.flush_at = now + FLUSH_S
                try:
                    bag.writer.flush()
                except OSError as error:
                    self._give_up(bag, error)

    def close(self) -> None:
        """Close every bag."""
        for bag in list(self.open.values()):
            self._close(bag)

    def _on_episode(self, event: Episode, item: Item) -> None:
        bag = self.open.get(event.episode_id)
        known = bag is not None or (self._folder / event.episode_id).exists()
        match event.state:
            case EpisodeState.IDLE:
                self._refused = False
                if self.current is not None and self.current.close_at is None:
                    self.current.close_at = time.monotonic() + self._linger_s
            case EpisodeState.RESETTING:
                if not self._is_opener(event, item):
                    self._open(event, item)
            case EpisodeState.ENDED if bag is not None:
                bag.ended = event
            case EpisodeState.ENDED if known and by_person(event):
                if self.current is None:
                    self._write_label(event, item)
            case EpisodeState.READY | EpisodeState.RUNNING if not known:
                self._log.warning(f"Episode {event.episode_id} is recorded from its middle on.")
                self._open(event, item)
            case EpisodeState.READY | EpisodeState.RUNNING if bag is None:
                self._log.warning(f"The rest of episode {event.episode_id} is not recorded.")

    def _is_opener(self, event: Episode, item: Item) -> bool:
        """Whether this very RESETTING opened the bag already.

        It comes again to a late joiner, and when the episode manager repeats itself.
        """
        bag = self.open.get(event.episode_id)
        if bag is not None and bag.ended is None and bag.reset_ns == event.stamp_ns:
            return True
        about = read_about(self._folder / event.episode_id)
        return bool(item.sent_ns) and about.get("sent_ns") == str(item.sent_ns)

    def _open(self, event: Episode, item: Item) -> None:
        if (again := self.open.get(event.episode_id)) is not None:
            self._close(again)
        if self.current is not None:
            self.current.close_at = time.monotonic() + self._linger_s
            self.current = None
        folder = self._folder / event.episode_id
        try:
            if (aside := move_aside(folder)) is not None:
                self._log.warning(
                    f"{event.episode_id} is repeated; its old bag is now {aside.name}."
                )
            writer = BagWriter(
                folder,
                custom=self._about(event, item),
                compress=self._compress,
                split_bytes=self._split_bytes,
            )
        except OSError as error:
            self._refused = True
            self._on_fault(error, f"Bag {folder} cannot be opened")
            return
        self._refused = False
        bag = OpenBag(writer, event.episode_id, event.stamp_ns, flush_at=time.monotonic() + FLUSH_S)
        self.open[event.episode_id] = self.current = bag
        for latest in self._latest.values():
            self._write(bag, latest._replace(stamp_ns=item.stamp_ns))

    def _write_label(self, event: Episode, item: Item) -> None:
        """Give a label that comes while no bag is open a small bag of its own."""
        folder = free_name(self._folder / event.episode_id, "label")
        try:
            with BagWriter(folder, custom=self._about(event, item), compress=False) as writer:
                writer.write(item.topic.name, item.topic.type_name, item.data, item.stamp_ns)
        except OSError as error:
            self._on_fault(error, f"Label {folder} cannot be written")

    def _about(self, event: Episode, item: Item) -> dict[str, str]:
        return {
            **self._custom,
            "episode_id": event.episode_id,
            "phase": event.phase.name.lower(),
            "index": str(event.index),
            "episode_seed": str(event.seed),
            "task": event.task,
            "prompt": event.prompt,
            "method": event.method,
            "started_ns": str(item.stamp_ns),
            "sent_ns": str(item.sent_ns),
        }

    def _write(self, bag: OpenBag, item: Item) -> None:
        name = item.topic.name
        bag.received[name] += 1
        if not bag.failure:
            try:
                bag.writer.write(name, item.topic.type_name, item.data, item.stamp_ns, qos=item.qos)
                return
            except OSError as error:
                self._give_up(bag, error)
        bag.dropped[name] += 1
        self.dropped += 1

    def _give_up(self, bag: OpenBag, error: OSError) -> None:
        """Stop writing a bag the disk refused; what it has stays readable up to its last chunk."""
        bag.failure = f"{error.strerror or error}"
        bag.writer.abort()
        self._on_fault(error, f"Bag {bag.writer.folder} cannot be written")

    def _close(self, bag: OpenBag) -> None:
        self.open.pop(bag.episode_id, None)
        if self.current is bag:
            self.current = None
        writer, ended = bag.writer, bag.ended
        extra = {"dropped": str(bag.dropped.total()), "lost": str((+bag.lost).total())}
        extra |= bag.made_by
        if ended is not None:
            extra |= {"outcome": ended.outcome.name.lower(), "labelled_by": ended.labelled_by}
        if not bag.failure:
            try:
                writer.close(extra)
            except OSError as error:
                self._give_up(bag, error)
        with suppress(OSError):
            write_json_atomic(writer.folder / COUNTS_FILE, _counts(bag), durable=False)
        self._log.info(
            f"{bag.episode_id}: {writer.counts.total()} messages, "
            f"{writer.size / 1e6:.1f} MB (of {writer.bytes_in / 1e6:.1f} MB), "
            f"{extra['dropped']} dropped, {extra['lost']} lost on the way"
        )


def _note(bag: OpenBag, item: Item) -> None:
    """Keep which policy and which reward model an episode was made with, as its messages say."""
    kind = item.topic.type_name
    if kind not in MADE_BY or MADE_BY[kind].keys() <= bag.made_by.keys():
        return
    with suppress(ValueError):  # it is recorded all the same
        message = deserialise(item.data, kind, definition(kind).text)
        said = {name: str(getattr(message, name)) for name in MADE_BY[kind].values()}
        if any(said.values()):  # motions of a reset come from no bundle
            bag.made_by |= {key: said[name] for key, name in MADE_BY[kind].items()}


def _counts(bag: OpenBag) -> dict[str, object]:
    lost = +bag.lost
    names = sorted(bag.received | lost)
    return {
        "episode_id": bag.episode_id,
        "failure": bag.failure,
        "file_bytes": bag.writer.size,
        "message_bytes": bag.writer.bytes_in,
        "topics": {
            name: {
                "sent": bag.received[name] + lost[name],
                "received": bag.received[name],
                "written": bag.writer.counts[name],
                "dropped": bag.dropped[name],
            }
            for name in names
        },
    }
