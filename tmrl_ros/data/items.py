"""One message on its way to a bag, and the episode it names."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from rosbags.interfaces import Qos

from tmrl_ros.core.types import NANOSECONDS

EPISODE_TYPE = "tmrl_msgs/msg/EpisodeEvent"
SEQUENCED_TYPES = {
    "tmrl_msgs/msg/Observation",
    "tmrl_msgs/msg/ActionChunk",
    "tmrl_msgs/msg/ChunkOutcome",
    "tmrl_msgs/msg/RewardEstimate",
}


@dataclass(frozen=True)
class Topic:
    """A recorded topic.

    Attributes:
        name: Absolute name.
        type_name: e.g. `tmrl_msgs/msg/Observation`.
        latched: Its last message opens every bag.
        numbered: It has one publisher, so that gaps in the publication numbers are lost messages.
    """

    name: str
    type_name: str
    latched: bool = False
    numbered: bool = True


class Item(NamedTuple):
    """One message on its way to a bag, received at `stamp_ns` (wall clock).

    `sent_ns` (the publisher's wall clock) and `number` (counted by the publisher) name the message:
    one that is delivered again to a late joiner has the same. 0 if not known.
    """

    topic: Topic
    data: bytes
    stamp_ns: int
    sent_ns: int = 0
    number: int = 0
    qos: Qos | None = None


def episode_of(type_name: str, data: bytes) -> str | None:
    """Name of the episode a serialised message belongs to, None if its type names none.

    Reads only the first fields of the CDR bytes (`std_msgs/Header`, then for most types a `uint64
    sequence`): deserialising a bundle of images would cost too much.
    """
    if type_name not in SEQUENCED_TYPES and type_name != EPISODE_TYPE:
        return None
    order = "<" if data[1] & 1 else ">"
    at = 12  # encapsulation header, seconds, nanoseconds
    at += 4 + int(struct.unpack_from(f"{order}I", data, at)[0])  # frame_id and its length
    if type_name in SEQUENCED_TYPES:
        at = _aligned(at, 8) + 8
    at = _aligned(at, 4)
    length = int(struct.unpack_from(f"{order}I", data, at)[0])
    return data[at + 4 : at + 4 + length].rstrip(b"\0").decode()


def stamp_of(data: bytes) -> int:
    """Stamp of a serialised message that begins with a header, in nanoseconds.

    A message starts with four bytes that name the encoding (the lowest bit of the second one means
    little endian), followed by the header's stamp.
    """
    order = "<" if data[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", data, 4)
    return int(seconds) * NANOSECONDS + int(nanoseconds)


def _aligned(offset: int, size: int) -> int:
    """Next multiple of `size`, counted from the end of the 4-byte encapsulation header."""
    return 4 + -(-(offset - 4) // size) * size
