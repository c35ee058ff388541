"""What the state machines of a session ask their node to do."""

from __future__ import annotations

from dataclasses import dataclass

from tmrl_ros.core.types import Chunk, Episode, Phase


@dataclass(frozen=True)
class EpisodeSpec:
    """What is asked of one episode; fields as in `Episode`.

    Attributes:
        judged: A reward answers every observation.
        by_person: It begins when a person takes the arm, and not before.
    """

    episode_id: str
    index: int
    phase: Phase
    seed: int
    task: str
    prompt: str
    method: str
    learn: bool
    deterministic: bool
    max_decisions: int
    judged: bool = True
    by_person: bool = False


@dataclass(frozen=True)
class Announce:
    """Publish the state of the episode."""

    episode: Episode


@dataclass(frozen=True)
class Move:
    """Publish a chunk that brings the arm home."""

    chunk: Chunk


@dataclass(frozen=True)
class AskScene:
    """Ask for the objects to be put back; answered with `on_scene`."""

    episode_id: str
    seed: int
    task: str


@dataclass(frozen=True)
class ResetStop:
    """Reset the latched stop, for a simulated operator; answered with `on_stop_reset`."""


@dataclass(frozen=True)
class Say:
    """Tell the person who watches."""

    text: str
    warning: bool = False


Command = Announce | Move | AskScene | ResetStop | Say
