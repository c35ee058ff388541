"""What a vision-language-action model is asked and answers, whoever hosts it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from tmrl_ros.core.types import ByteArray, Float32Array


class VlaSpec(BaseModel):
    """What a model is and can be steered by.

    `capabilities` are those of `core/methods.py` (`action_noise`, `context_timestep`,
    `context_seed`, `batch`) and, of the interface alone, `low_rank_noise` and `committed`.
    `action_dim` is the width of actions and of action noise, `action_space` says what the columns
    mean; hashes are SHA-256 in hexadecimal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    action_dim: int = Field(ge=1)
    horizon: int = Field(ge=1)
    state_dim: int = Field(ge=0)
    cameras: tuple[str, ...]
    capabilities: tuple[str, ...] = ()
    model_sha256: str
    normalisation_sha256: str
    action_space: str
    control_rate_hz: float = Field(gt=0)


@dataclass(frozen=True)
class VlaRequest:
    """One observation, and how the model is steered while it answers.

    Attributes:
        images: uint8 (height, width, 3) RGB by camera.
        state: float32 (S,), in the robot's units.
        prompt: What the robot is told.
        noise: Action noise of every sample: float32 (n, H, A), or (n, R, A) with R < H, low-rank
            over the horizon; None: the model draws it.
        t_context: float32 (n,) in [0, 1], how much of the context is noise; None: none of it.
        context_seed: Of the context noise, which is the same for all samples of a request; None:
            drawn anew.
        committed: float32 (c, A), rows of the chunk before that are carried out in any case and
            that the answer begins with; None: none.
        samples: Number of chunks n.
    """

    images: dict[str, ByteArray]
    state: Float32Array
    prompt: str
    noise: Float32Array | None = None
    t_context: Float32Array | None = None
    context_seed: int | None = None
    committed: Float32Array | None = None
    samples: int = 1


@dataclass(frozen=True)
class VlaAnswer:
    """What a model makes of a request.

    Attributes:
        actions: float32 (n, H, A), in the robot's units.
        prefix: float32 (P,), what actor and critics may see: the mean of the prefix embeddings.
        timings_ms: How long which part took.
    """

    actions: Float32Array
    prefix: Float32Array = field(default_factory=lambda: np.zeros(0, np.float32))
    timings_ms: dict[str, float] = field(default_factory=dict)


class VlaModel(Protocol):
    """A model that is loaded; called from one thread, one request at a time."""

    spec: VlaSpec

    def infer(self, request: VlaRequest) -> VlaAnswer:
        """Answer one request.

        Raises:
            ValueError: The request does not fit the model; the text says how.
        """

    def warm_up(self) -> None:
        """Run once, so that the first request is as quick as the others."""


def expand_noise(noise: Float32Array, horizon: int) -> NDArray[np.float32]:
    """Noise (n, R, A) of low rank as (n, H, A): every row is held for its share of the horizon."""
    rows = noise.shape[1]
    return noise[:, np.arange(horizon) * rows // horizon]
