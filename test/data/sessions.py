"""Sessions of real bags, written by the recorder's own code."""

from __future__ import annotations

import array
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rclpy.serialization import serialize_message
from recorded import STEPS, as_on_the_wire, episode, item, sample

from tmrl_msgs.msg import Observation, SafetyState
from tmrl_ros.core.types import Episode, EpisodeOutcome
from tmrl_ros.data.items import Item, Topic
from tmrl_ros.data.session_bags import SessionBags
from tmrl_ros.nodes import convert

SAFETY = Topic("/safety/state", "tmrl_msgs/msg/SafetyState", latched=True)
WIDTH_M = 0.08
ABOUT = {"session": "night", "operator": "anna", "session_seed": "4", "config_hash": "c0ffee"}


def open_bags(session: Path, **about: str) -> SessionBags:
    """The recorder's bags of a session; faults of the file system fail the test."""

    def fault(error: OSError, what: str) -> None:
        raise AssertionError(what) from error

    return SessionBags(
        session / "episodes",
        custom={**ABOUT, **about},
        compress=True,
        linger_s=0.0,
        on_fault=fault,
        log=logging.getLogger("test"),
    )


def record(
    session: Path, outcomes: Sequence[EpisodeOutcome], *, decisions: int = 3, first: int = 0
) -> Path:
    """Record one episode per outcome, `train_000000` and so on."""
    bags = open_bags(session)
    numbers: dict[str, int] = {}
    for index, outcome in enumerate(outcomes, first):
        for piece in story(index, outcome, decisions):
            put(bags, item(piece), numbers)
    bags.close()
    return session


def story(index: int, outcome: EpisodeOutcome, decisions: int = 3) -> list[object]:
    """Messages of a training episode whose observations fit the arm's states."""
    pieces: list[object] = [sample(0)]
    for piece in episode(f"train_{index:06d}", decisions, outcome):
        if isinstance(piece, Episode):
            piece = replace(piece, index=index)
        elif isinstance(piece, Observation):
            arm = sample(piece.decision * STEPS)
            opening = arm.gripper_width_m / WIDTH_M
            piece.state = array.array("f", [*arm.ee_pose.position, opening])
        pieces.append(piece)
    return [pieces[1], pieces[0], *pieces[2:]]


def put(bags: SessionBags, one: Item, numbers: dict[str, int]) -> None:
    """Hand over a message, numbered as its publisher would."""
    numbers[one.topic.name] = numbers.get(one.topic.name, 0) + 1
    bags.take(one._replace(number=numbers[one.topic.name]))


def stop(code: str, message: str, latched_ns: int) -> Item:
    """The supervisor says that it has latched."""
    msg = SafetyState(state=SafetyState.STATE_LATCHED, code=code, message=message, value="70 N")
    msg.latched_at = convert.to_time(latched_ns)
    data = as_on_the_wire(bytes(serialize_message(msg)), SAFETY.type_name)
    return Item(SAFETY, data, latched_ns, sent_ns=latched_ns)
