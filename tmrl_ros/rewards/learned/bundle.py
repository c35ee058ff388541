"""Reward bundles: a folder with `reward.json` (what it is) and `model.safetensors` (weights)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import Field

from tmrl_ros.data.bundle_folder import BundleFolder, BundleSpec, Strict
from tmrl_ros.rewards.learned.model import ModelSize, RewardNetwork

SPEC_FILE = "reward.json"
REMAKE = "make it with `tmrl reward train` or name another with reward.bundle=..."


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


class RewardSpec(BundleSpec):
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


FOLDER = BundleFolder("reward", RewardSpec, SPEC_FILE, REMAKE)


def network_spec(size: ModelSize) -> NetworkSpec:
    """Sizes as they stand in `reward.json`."""
    return NetworkSpec(**asdict(size))


def save_bundle(folder: Path, spec: RewardSpec, network: RewardNetwork) -> RewardSpec:
    """Write a bundle; returns the spec with the weights' hash filled in."""
    return FOLDER.save(folder, spec, network)


def read_spec(folder: Path) -> RewardSpec:
    """Read and check `reward.json`.

    Raises:
        BundleError: A sentence that names the file and what is wrong with it.
    """
    return FOLDER.read(folder)


def load_bundle(folder: Path) -> tuple[RewardSpec, RewardNetwork]:
    """Load a model, its weights checked against the hash in `reward.json`.

    Raises:
        BundleError: A sentence that names the file and what is wrong with it.
    """
    spec = read_spec(folder)
    network = RewardNetwork(spec.network.size)
    FOLDER.load_weights(folder, spec.weights_sha256, network)
    return spec, network
