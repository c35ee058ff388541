"""A network cable in user space between two network namespaces, which can delay and lose packets.

Kernels without `netem` cannot do that to a real one. Every frame of one tap device goes to the
other; a file says how: `delay 300ms`, `loss 30%`, both, or nothing.

    python -m tmrl_ros.rehearsal.cable <namespace> <device> <namespace> <device> <file>
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import itertools
import os
import random
import re
import select
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.parent import end_with_parent

TUN, NAMESPACES = Path("/dev/net/tun"), Path("/var/run/netns")
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
CLONE_NEWNET = 0x40000000
FRAME_BYTES = 65536
CABLE = "TMRL_CABLE"
"""Variable that names the file, for whoever breaks the cable of a running graph."""
LOOK_S = 0.05


@dataclass(frozen=True)
class Manner:
    """How frames are carried: share that is lost, 0 to 1, and delay in seconds, each way."""

    loss: float = 0.0
    delay_s: float = 0.0


def manner_of(words: str) -> Manner:
    """Read `delay 300ms loss 30%`.

    Raises:
        ConfigurationError: Something else stands there.
    """
    delay = re.search(r"\bdelay (\d+(?:\.\d+)?)ms", words)
    loss = re.search(r"\bloss (\d+(?:\.\d+)?)%", words)
    rest = words
    for found in (delay, loss):
        rest = rest.replace(found.group(), "") if found else rest
    if rest.strip():
        raise ConfigurationError(
            f"The cable does not know {words.strip()!r}: write `delay 300ms`, `loss 30%` or both."
        )
    share = float(loss.group(1)) / 100.0 if loss else 0.0
    return Manner(min(share, 1.0), float(delay.group(1)) / 1e3 if delay else 0.0)


def change_cable(file: Path, words: str) -> None:
    """Let the cable carry frames in another manner, at once.

    Args:
        file: The cable's.
        words: `down`, `delay 300ms`, `loss 30%`, or "" for a good one.
    """
    new = file.with_suffix(".new")
    new.write_text("loss 100%" if words == "down" else words)
    new.replace(file)


def tap_in(namespace: str, device: str) -> int:
    """Open a tap device in a namespace, in which the process then is; it lives with the file."""
    with (NAMESPACES / namespace).open() as place:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(place.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter namespace {namespace}")
    tap = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TAP | IFF_NO_PI))
    return tap


def carry(taps: tuple[int, int], file: Path) -> None:
    """Carry frames both ways until the process is ended."""
    ends = {taps[0]: taps[1], taps[1]: taps[0]}
    due: list[tuple[float, int, int, bytes]] = []
    order, draw = itertools.count(), random.Random(0)
    manner, look_s = Manner(), 0.0
    while True:
        now_s = time.monotonic()
        if now_s >= look_s:
            manner, look_s = manner_of(file.read_text()), now_s + LOOK_S
        while due and due[0][0] <= now_s:
            _, _, tap, frame = heapq.heappop(due)
            _write(tap, frame)
        wait_s = min(LOOK_S, max(0.0, due[0][0] - now_s)) if due else LOOK_S
        for tap in select.select(taps, [], [], wait_s)[0]:
            frame = os.read(tap, FRAME_BYTES)
            if draw.random() >= manner.loss:
                at_s = time.monotonic() + manner.delay_s
                heapq.heappush(due, (at_s, next(order), ends[tap], frame))


def _write(tap: int, frame: bytes) -> None:
    try:
        os.write(tap, frame)
    except OSError:  # that end is down
        return


def main() -> int:
    """Open both ends, say so, and carry."""
    end_with_parent(os.getppid())
    one, one_device, other, other_device, file = sys.argv[1:6]
    taps = (tap_in(one, one_device), tap_in(other, other_device))
    print("ready", flush=True)
    carry(taps, Path(file))
    return 0


if __name__ == "__main__":
    sys.exit(main())
