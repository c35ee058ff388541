"""Give the bag of a killed recorder its index and `metadata.yaml` back.

The file is rewritten up to its last complete chunk beside the damaged one and then put in its place
by renaming, MCAP file first. A kill at any moment leaves either the damaged bag or an indexed one,
and repairing again finishes the work.
"""

from __future__ import annotations

import os
import shutil
from enum import Enum
from pathlib import Path

from rosbags.interfaces import Qos
from rosbags.rosbag2.metadata import parse_qos

from tmrl_ros.data.bag_reader import read_about
from tmrl_ros.data.bag_stream import BagStream, bag_files
from tmrl_ros.data.bag_writer import BagWriter, move_aside
from tmrl_ros.data.definitions import Definition, typestore

MAGIC = b"\x89MCAP0\r\n"
WORK_FOLDER = ".repair"


class Repair(Enum):
    """What `repair_bag` found and did."""

    INTACT = "intact"
    REPAIRED = "repaired"
    EMPTY = "empty"
    """Not one complete chunk; the folder was moved to `<name>.empty-N`."""


def is_intact(folder: Path) -> bool:
    """Whether a bag has its `metadata.yaml` and every file of it its end."""
    files = sorted(folder.glob("*.mcap"))
    return bool(files) and (folder / "metadata.yaml").is_file() and all(map(_has_end, files))


def repair_bag(folder: Path, *, compress: bool = True) -> Repair:
    """Make one bag readable by every tool again; does nothing to an intact bag.

    Args:
        folder: Folder of the bag.
        compress: zstd chunks in the rewritten file.

    Raises:
        OSError: The file system refuses; the bag is as it was.
    """
    work = folder / WORK_FOLDER
    if work.exists():
        shutil.rmtree(work)
    if is_intact(folder):
        return Repair.INTACT
    if not any(folder.glob("*.mcap")):
        move_aside(folder, "empty")
        return Repair.EMPTY
    damaged = bag_files(folder)
    stem = damaged[0].stem.removesuffix("_0")
    writer = BagWriter(work, custom=read_about(folder), compress=compress, name=stem)
    known: dict[str, tuple[Definition, Qos | None]] = {}
    try:
        for topic, type_name, data, stamp_ns, text, offered in BagStream(folder):
            if topic not in known:
                type_hash = typestore(type_name, text).hash_rihs01(type_name)
                qos = next(iter(parse_qos(offered)), None)
                known[topic] = (Definition(text, type_hash), qos)
            kind, qos = known[topic]
            writer.write(topic, type_name, data, stamp_ns, qos=qos, known=kind)
        writer.close({"repaired": "true"})
    except BaseException:
        writer.abort()
        shutil.rmtree(work, ignore_errors=True)
        raise
    if not sum(writer.counts.values()):
        shutil.rmtree(work)
        move_aside(folder, "empty")
        return Repair.EMPTY
    _sync(writer.file)
    writer.file.replace(damaged[0])
    for rest in damaged[1:]:
        rest.unlink()
    (work / "metadata.yaml").replace(folder / "metadata.yaml")
    shutil.rmtree(work)
    return Repair.REPAIRED


def _has_end(file: Path) -> bool:
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        if size < 2 * len(MAGIC):
            return False
        opened.seek(-len(MAGIC), os.SEEK_END)
        return opened.read() == MAGIC


def _sync(file: Path) -> None:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())
