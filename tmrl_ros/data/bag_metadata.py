"""`metadata.yaml` of a bag: rosbag2's version 9, as Jazzy writes it."""

from __future__ import annotations

from collections.abc import Mapping
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


@cache
def qos_text(qos: Qos | None) -> str:
    """YAML of a topic's offered QoS, as the MCAP channel carries it."""
    return to_yaml(dump_qos_v9([qos])).strip() if qos is not None else ""


def bag_information(
    file_name: str,
    topics: list[TopicEntry],
    *,
    start_ns: int,
    end_ns: int,
    custom: Mapping[str, str],
) -> dict[str, Any]:
    """What stands under `rosbag2_bagfile_information`, for a bag of one MCAP file.

    Args:
        file_name: Name of the MCAP file.
        topics: Topics in order of appearance.
        start_ns: When the first message was received, ns since the epoch.
        end_ns: When the last one was.
        custom: `custom_data`.
    """
    span = {
        "duration": {"nanoseconds": max(0, end_ns - start_ns)},
        "starting_time": {"nanoseconds_since_epoch": start_ns},
        "message_count": sum(topic.count for topic in topics),
    }
    return {
        "version": VERSION,
        "storage_identifier": "mcap",
        **span,
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
        "relative_file_paths": [file_name],
        "files": [{"path": file_name, **span}],
        "custom_data": dict(custom) or None,
        "ros_distro": "jazzy",
    }


def to_yaml(value: Any) -> str:
    """Block-style YAML without aliases, keys in the order given."""
    return str(yaml.dump(value, Dumper=_PlainDumper, sort_keys=False, default_flow_style=False))


class _PlainDumper(_DUMPER):  # type: ignore[misc]
    """Writes equal parts out each time: not every reader follows YAML aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
