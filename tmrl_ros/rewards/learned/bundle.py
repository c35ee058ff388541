"""Reward bundles: a folder with `reward.json` (what it is) and `model.safetensors` (weights)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tmrl_ros.core.errors import BundleError
from tmrl_ros.rewards.learned.model import ModelSize, RewardNetwork

SPEC_FILE, WEIGHTS_FILE = "reward.json", "model.safetensors"
REMAKE = "make it with `tmrl reward train` or name another with reward.bundle=..."


class Strict(BaseModel):
    """Unknown keys and non-finite numbers are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NetworkSpec(Strict):
    """Sizes of the network, as `ModelSize` has them."""

    cameras: int = Field(ge=1)
    image_height: int = Field(ge=16)
    image_width: int = Field(ge=16)
    prompt_size: int = Field(ge=1)
    clip: int = Field(ge=2)
    width: int = Field(ge=8)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)

    @property
    def size(self) -> ModelSize:
        """For `RewardNetwork`."""
        return ModelSize(**self.model_dump())


class CalibrationRecord(Strict):
    """When success counts, and on what that was measured."""

    threshold: float = Field(gt=0, le=1)
    k: int = Field(ge=1)
    n: int = Field(ge=1)
    episodes: int = Field(ge=0, description="held-out episodes it was measured on")
    successes: int = Field(ge=0, description="of them, episodes that succeed")
    found: int = Field(ge=0, description="of these, successes it finds")
    false_positives: int = Field(ge=0, description="successes it sees where there is none")


class TrainingRecord(Strict):
    """Where the weights come from."""

    command: str
    source: str
    videos: int
    episodes: int
    videos_by_kind: dict[str, int]
    calibration_videos: int
    steps: int
    seed: int
    data_sha256: str
    losses: dict[str, float]
    wall_s: float


class RewardSpec(Strict):
    """The content of `reward.json`."""

    format: Literal[1] = 1
    kind: Literal["reward_video"] = "reward_video"
    task: str
    cameras: list[str] = Field(min_length=1)
    prompts: list[list[str]] = Field(
        description="instructions it was trained on; rows are synonyms"
    )
    network: NetworkSpec
    calibration: CalibrationRecord
    training: TrainingRecord
    weights_sha256: str = ""

    def digest(self) -> str:
        """Hash that names this model in messages and reports."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def network_spec(size: ModelSize) -> NetworkSpec:
    """Sizes as they stand in `reward.json`."""
    return NetworkSpec(**asdict(size))


def save_bundle(folder: Path, spec: RewardSpec, network: RewardNetwork) -> RewardSpec:
    """Write a bundle; returns the spec with the weights' hash filled in."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    spec = spec.model_copy(update={"weights_sha256": _sha256(folder / WEIGHTS_FILE)})
    (folder / SPEC_FILE).write_text(json.dumps(spec.model_dump(), indent=1) + "\n")
    return spec


def read_spec(folder: Path) -> RewardSpec:
    """Read and check `reward.json`.

    Raises:
        BundleError: A sentence that names the file and what is wrong with it.
    """
    path = folder / SPEC_FILE
    if not path.is_file():
        raise BundleError(
            f"There is no reward bundle at {folder} ({SPEC_FILE} is missing): {REMAKE}."
        )
    try:
        return RewardSpec.model_validate_json(path.read_text())
    except (ValidationError, UnicodeDecodeError) as error:
        first: dict[str, Any] = {"loc": (), "msg": str(error)}
        if isinstance(error, ValidationError):
            first = dict(error.errors()[0])
        key = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            f"{path} is damaged ({key or 'content'}: {first['msg']}): {REMAKE}."
        ) from None


def load_bundle(folder: Path) -> tuple[RewardSpec, RewardNetwork]:
    """Load a model, its weights checked against the hash in `reward.json`.

    Raises:
        BundleError: A sentence that names the file and what is wrong with it.
    """
    spec = read_spec(folder)
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise BundleError(f"The reward bundle {folder} has no {WEIGHTS_FILE}: copy it again.")
    if (found := _sha256(path)) != spec.weights_sha256:
        raise BundleError(
            f"{path} is damaged: its hash is {found[:12]}, {SPEC_FILE} says "
            f"{spec.weights_sha256[:12]}. Copy it again."
        )
    network = RewardNetwork(spec.network.size)
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise BundleError(
            f"{path} does not hold the network that {SPEC_FILE} describes ({first})."
        ) from None
    return spec, network.eval().requires_grad_(False)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
