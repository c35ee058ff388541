"""Every fault that can be rehearsed: its name, what is done, and what must come of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Expected(StrEnum):
    """What must come of a fault. None of them may move the arm while the stop is latched."""

    LATCHES = "latches"
    STANDS = "stands"
    GOES_ON = "goes on"
    ANYTHING = "either"


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: As on the command line.
        what: What is done, for a person.
        expected: What must come of it.
        kind: Who does it: `kill`, `freeze`, `raise` (a process), `robot` (the simulated driver),
            `chunk` (a stranger publishes), `disk`, `network`.
        subject: The node, the driver's parameter, the change to the chunk or to the link.
        value: The parameter's value.
    """

    name: str
    what: str
    expected: Expected
    kind: str
    subject: str
    value: str | bool | float = ""


# What a dead and a stopped process must lead to; the arm must not need who learns or records.
_DEAD = {
    "safety_supervisor": Expected.STANDS,
    "sim_franka": Expected.STANDS,
    "perception": Expected.STANDS,
    "policy_server": Expected.STANDS,
    "episode_manager": Expected.STANDS,
    "reward": Expected.ANYTHING,
    "recorder": Expected.ANYTHING,
    "learner": Expected.GOES_ON,
    "console": Expected.GOES_ON,
}
_STOPPED = {**_DEAD, "episode_manager": Expected.ANYTHING, "recorder": Expected.GOES_ON}
NODES = tuple(_DEAD)
_L, _S, _G, _E = Expected.LATCHES, Expected.STANDS, Expected.GOES_ON, Expected.ANYTHING

FAULTS: tuple[Fault, ...] = (
    *(Fault(f"kill_{n}", f"SIGKILL {n}", e, "kill", n) for n, e in _DEAD.items()),
    *(Fault(f"freeze_{n}", f"SIGSTOP {n}", e, "freeze", n) for n, e in _STOPPED.items()),
    *(Fault(f"raise_{n}", f"an exception in a callback of {n}", _E, "raise", n) for n in NODES),
    Fault(
        "camera_freezes",
        "the wrist camera repeats a picture",
        _S,
        "robot",
        "freeze_camera",
        "wrist",
    ),
    Fault("camera_black", "the wrist camera is covered", _E, "robot", "black_camera", "wrist"),
    Fault("cameras_swapped", "two cameras are exchanged", _E, "robot", "swap_cameras", True),
    Fault("clock_back", "the robot's clock goes back by 5 s", _L, "robot", "clock_jump_s", -5.0),
    Fault("clock_ahead", "the robot's clock goes ahead by 5 s", _E, "robot", "clock_jump_s", 5.0),
    Fault("reflex", "the robot stops itself", _L, "robot", "mode", "reflex"),
    Fault(
        "user_stop",
        "the robot's stop button, pressed and released",
        _L,
        "robot",
        "mode",
        "user_stopped",
    ),
    Fault(
        "controller_off",
        "the robot's controller is deactivated",
        _L,
        "robot",
        "mode",
        "unconfigured",
    ),
    Fault("guiding", "somebody takes the arm by the hand", _L, "robot", "mode", "guiding"),
    Fault("robot_silent", "the driver says nothing any more", _L, "robot", "silent", True),
    Fault("chunk_nan", "a chunk with NaN", _L, "chunk", "nan"),
    Fault("chunk_inf", "a chunk with infinity", _L, "chunk", "inf"),
    Fault("chunk_huge", "a chunk 10 m away", _L, "chunk", "huge"),
    Fault("chunk_late", "a chunk 2 s late", _L, "chunk", "late"),
    Fault("chunk_ahead", "a chunk 2 s ahead", _L, "chunk", "ahead"),
    Fault("chunk_twice", "the policy's chunk once more", _G, "chunk", "twice"),
    Fault("chunk_reordered", "an older chunk after a newer one", _G, "chunk", "reordered"),
    Fault("chunk_oversized", "a chunk of 100,000 rows", _L, "chunk", "oversized"),
    Fault("chunk_broken", "a chunk whose size is not what it says", _L, "chunk", "broken"),
    Fault("second_publisher", "another program publishes targets", _L, "chunk", "publisher"),
    Fault("disk_full", "the recorder finds no space", _S, "disk", "recorder"),
    Fault("network_gone", "robot PC and GPU PC are parted", _S, "network", "down"),
    Fault("network_loss", "30 % of their packets are lost", _E, "network", "loss 30%"),
    Fault("network_delay", "their packets are 300 ms late", _E, "network", "delay 300ms"),
)
BY_NAME = {fault.name: fault for fault in FAULTS}
