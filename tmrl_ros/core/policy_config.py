"""The configuration of who computes a session's chunks: this machine, or a policy server."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from tmrl_ros.core.safety_config import Name
from tmrl_ros.core.section import Section

StateKind = Literal["tool", "joints", "joints_and_opening"]
ActionSpace = Literal["cartesian_relative", "cartesian_delta"]


class OpenpiConfig(Section):
    """What openpi's server does not say of itself: the keys it looks at, and its chunks."""

    images: dict[Name, str] = Field(
        default_factory=dict, description="key of the observation by camera of the cell"
    )
    state_key: str = "observation/state"
    state: StateKind = "tool"
    prompt_key: str = "prompt"
    horizon: int = Field(8, ge=1, le=1000, description="rows of its chunks")
    action_space: ActionSpace = "cartesian_delta"
    control_rate_hz: float | None = Field(None, gt=0, description="the robot's by default")


class PolicyConfig(Section):
    """Where the frozen policy runs.

    `local` is the bundle of the task, in the policy server's own process. `remote` is what a
    `tmrl vla-server`, or a server of openpi, has loaded; `task.bundle` is not looked at then.
    """

    backend: Literal["local", "remote"] = "local"
    url: str = Field("ws://127.0.0.1:8000", description="of the server; wss:// for TLS")
    token_file: Path | None = Field(None, description="file with the token that the server wants")
    timeout_s: float | None = Field(
        None, gt=0, le=60, description="of one request; by default what the arm's clock allows"
    )
    connect_s: float = Field(
        30.0, gt=0, le=600, description="that the server may take to be there when a session starts"
    )
    reconnect_s: float = Field(
        10.0, gt=0, le=60, description="the same at an observation; the arm holds meanwhile"
    )
    execute_steps: int | None = Field(
        None, ge=1, description="rows of a VLA's chunk that are carried out; all by default"
    )
    cameras: dict[str, Name] = Field(
        default_factory=dict, description="camera of the cell by camera of the policy"
    )
    openpi: OpenpiConfig = OpenpiConfig()

    @field_validator("token_file")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @model_validator(mode="after")
    def _is_an_address(self) -> PolicyConfig:
        if not self.url.startswith(("ws://", "wss://")):
            raise ValueError(f"policy.url={self.url} is no address like ws://gpu-pc:8000")
        return self

    @property
    def remote(self) -> bool:
        """Whether a server is asked."""
        return self.backend == "remote"
