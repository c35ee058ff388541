"""Full text and hash of every message type, as official rosbag2 stores them in a bag.

The texts come from `share/<package>/msg/*.msg` of the ROS installation (comments included, so that
a bag explains its own units), the RIHS01 hashes from the `.json` files beside them. Types of
packages that are not installed fall back to the Jazzy definitions that the `rosbags` library
carries.
"""

from __future__ import annotations

import importlib.util
import json
import os
import struct
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

SEPARATOR = "=" * 80


class Definition(NamedTuple):
    """A message type: its full text (dependencies appended) and its type hash."""

    text: str
    type_hash: str


def share_folders(package: str) -> list[Path]:
    """Existing `share/<package>` folders of `$AMENT_PREFIX_PATH`, this Python and the package.

    In environments made by pip nobody sets `AMENT_PREFIX_PATH`; there the prefix is found from
    where the package's Python module lies (`<prefix>/lib/python3.x/site-packages/<package>`).
    """
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    prefixes.append(Path(sys.prefix))
    for name in (package, "rclpy"):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin:
            parents = Path(spec.origin).resolve().parents
            prefixes += parents[4:5]
    folders = (prefix / "share" / package for prefix in prefixes)
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


@cache
def definition(type_name: str) -> Definition:
    """Definition of a type such as `tmrl_msgs/msg/ActionChunk`.

    Raises:
        LookupError: No installed package and no known standard package defines it.
    """
    found = _installed(type_name)
    if found is not None:
        return found
    try:
        text, _ = _jazzy().generate_msgdef(type_name, ros_version=2)
        return Definition(text, _jazzy().hash_rihs01(type_name))
    except Exception as error:  # the library raises its own TypesysError and KeyError
        raise LookupError(
            f"Message type {type_name} is not installed here: install its package "
            f"(share/{type_name.split('/')[0]}/msg) or leave the topic out."
        ) from error


@cache
def typestore(type_name: str, text: str) -> Typestore:
    """Deserialiser of one type, built from the definition stored in a bag."""
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(text, type_name))
    return store


def deserialise(data: bytes, type_name: str, text: str) -> Any:
    """Message object with the fields of the definition; numeric arrays are numpy arrays.

    Bytes after the message's end are ignored: `rclpy.serialization.serialize_message` leaves some
    behind empty `float64[]` fields, and the library's own `deserialize_cdr` would refuse them.

    Raises:
        ValueError: The bytes are no such message.
    """
    store = typestore(type_name, text)
    kind = store.get_msgdef(type_name)
    read = kind.deserialize_cdr_le if data[1] & 1 else kind.deserialize_cdr_be
    try:
        return read(data[4:], 0, kind.cls, store)[0]
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise ValueError(f"{len(data)} bytes are no {type_name}: {error}") from error


@cache
def _jazzy() -> Typestore:
    return get_typestore(Stores.ROS2_JAZZY)


def _installed(type_name: str) -> Definition | None:
    description = _file(type_name, ".json")
    if description is None:
        return None
    hashes = {
        str(item["type_name"]): str(item["hash_string"])
        for item in json.loads(description.read_text())["type_hashes"]
    }
    parts: list[str] = []
    for name in [type_name, *(other for other in hashes if other != type_name)]:
        source = _file(name, ".msg")
        if source is None:
            return None
        package, _, short = name.split("/")
        head = f"{SEPARATOR}\nMSG: {package}/{short}\n" if parts else ""
        parts.append(head + source.read_text())
    return Definition("\n".join(parts), hashes[type_name])


def _file(type_name: str, suffix: str) -> Path | None:
    package, kind, short = type_name.split("/")
    for folder in share_folders(package):
        path = folder / kind / f"{short}{suffix}"
        if path.is_file():
            return path
    return None
