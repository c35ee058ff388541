"""`metadata.yaml` of a bag: rosbag2's version 9, as Jazzy writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2.metadata import dump_qos_v9

VERSION = 9
_FOREVER = QosTime(9223372036, 854775807)
# libyaml's dumper: the Python one takes a twentieth of a second per bag.
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True)
class TopicEntry:
    """One topic of a bag and how many messages of it there are."""

    name: str
    type_name: str
    type_hash: str
    qos: Qos | None
    count: int


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


@dataclass(frozen=True)
class FilePart:
    """One MCAP file of a bag: its name, when its messages were received, and how many there are."""

    name: str
    start_ns: int
    end_ns: int
    count: int


@cache
def qos_text(qos: Qos | None) -> str:
    """YAML of a topic's offered QoS, as the MCAP channel carries it."""
    return to_yaml(dump_qos_v9([qos])).strip() if qos is not None else ""


def bag_information(
    files: Sequence[FilePart],
    topics: Sequence[TopicEntry],
    *,
    custom: Mapping[str, str],
) -> dict[str, Any]:
    """What stands under `rosbag2_bagfile_information`.

    Args:
        files: The bag's MCAP files, at least one, in order.
        topics: Topics in order of appearance.
        custom: `custom_data`.
    """
    held = [part for part in files if part.count] or list(files[:1])
    start_ns, end_ns = min(part.start_ns for part in held), max(part.end_ns for part in held)
    return {
        "version": VERSION,
        "storage_identifier": "mcap",
        **_span(start_ns, end_ns, sum(topic.count for topic in topics)),
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic.name,
                    "type": topic.type_name,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": dump_qos_v9([topic.qos] if topic.qos else []),
                    "type_description_hash": topic.type_hash,
                },
                "message_count": topic.count,
            }
            for topic in topics
        ],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [part.name for part in files],
        "files": [
            {"path": part.name, **_span(part.start_ns, part.end_ns, part.count)} for part in files
        ],
        "custom_data": dict(custom) or None,
        "ros_distro": "jazzy",
    }


def _span(start_ns: int, end_ns: int, count: int) -> dict[str, Any]:
    return {
        "duration": {"nanoseconds": max(0, end_ns - start_ns)},
        "starting_time": {"nanoseconds_since_epoch": start_ns},
        "message_count": count,
    }


def to_yaml(value: Any) -> str:
    """Block-style YAML without aliases, keys in the order given."""
    return str(yaml.dump(value, Dumper=_PlainDumper, sort_keys=False, default_flow_style=False))


class _PlainDumper(_DUMPER):  # type: ignore[misc]
    """Writes equal parts out each time: not every reader follows YAML aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
