"""The files of a VLA checkpoint: LeRobot's, and `tmrl.json` beside them.

* config.json, model.safetensors: the policy, as LeRobot saves it
* policy_preprocessor.json and its state: normalisation, as LeRobot saves it
* tmrl.json: what LeRobot's files do not say: action space, control rate
* csp.safetensors: the embedding of the context timestep, once trained
* tokenizer/, vlm/, sizes.json: what would otherwise come from the hub, or be fixed
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file, save_model
from torch import Tensor

from tmrl_ros.core.errors import BundleError
from tmrl_ros.vla.processing import Scale, Statistics

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PREPROCESSOR, DEPLOYMENT, CSP_WEIGHTS = "policy_preprocessor.json", "tmrl.json", "csp.safetensors"
NORMALISER_STATE = "policy_preprocessor_step_5_normalizer_processor.safetensors"
STATE, ACTION = "observation.state", "action"


class CspSettings(BaseModel):
    """How the context of a VLA is smoothed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    smooth_state: bool = Field(True, description="noise the state where it is part of the prefix")
    trained: bool = Field(False, description="fine-tuned with context smoothing")


class Deployment(BaseModel):
    """What a checkpoint must say before its actions may move an arm."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = ""
    action_space: str = Field(min_length=1, description="what the columns of an action mean")
    control_rate_hz: float = Field(gt=0, description="rows of a chunk per second")
    csp: CspSettings = CspSettings()


def write_checkpoint(
    folder: Path, policy: Any, statistics: dict[str, Statistics], deployment: Deployment
) -> None:
    """Write a policy's configuration, weights, statistics and deployment."""
    folder.mkdir(parents=True, exist_ok=True)
    policy.config._save_pretrained(folder)
    save_model(policy, str(folder / WEIGHTS))
    flat = {
        f"{key}.{name}": value.contiguous()
        for key, item in statistics.items()
        for name, value in vars(item).items()
    }
    save_file(flat, folder / NORMALISER_STATE)
    mapping = {key: mode_name(value) for key, value in policy.config.normalization_mapping.items()}
    step = {
        "registry_name": "normalizer_processor",
        "config": {"eps": 1e-8, "norm_map": mapping},
        "state_file": NORMALISER_STATE,
    }
    text = json.dumps({"name": "policy_preprocessor", "steps": [step]}, indent=2)
    (folder / PREPROCESSOR).write_text(text)
    write_deployment(folder, deployment)


def write_deployment(folder: Path, deployment: Deployment) -> None:
    """Write `tmrl.json`."""
    (folder / DEPLOYMENT).write_text(deployment.model_dump_json(indent=2) + "\n")


def read_deployment(folder: Path) -> Deployment:
    """Read `tmrl.json`.

    Raises:
        BundleError: It is missing or says something else.
    """
    file = folder / DEPLOYMENT
    if not file.is_file():
        raise BundleError(
            f"{file} is missing, and LeRobot's files do not say what actions mean or how fast they "
            'are carried out: write it, for example {"action_space": "cartesian_relative", '
            '"control_rate_hz": 20}.'
        )
    try:
        return Deployment.model_validate_json(file.read_text())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BundleError(f"{file}: {where}: {first['msg']}; correct it there.") from None


def read_scales(folder: Path, sizes: dict[str, int]) -> dict[str, Scale]:
    """Scales of `observation.state` and `action`, as the checkpoint's normaliser has them.

    Args:
        folder: The checkpoint.
        sizes: Length of both vectors by name.

    Raises:
        BundleError: The files are missing or do not fit the policy.
    """
    file = folder / PREPROCESSOR
    try:
        steps = json.loads(file.read_text())["steps"]
        step = next(item for item in steps if item.get("registry_name") == "normalizer_processor")
        state = load_file(folder / step["state_file"])
        modes = step["config"]["norm_map"]
    except (OSError, ValueError, KeyError, TypeError, StopIteration, SafetensorError) as error:
        raise BundleError(
            f"{file} has no readable normaliser ({type(error).__name__}: {error}): save the policy "
            "with a LeRobot of 0.4 or newer, or convert it with LeRobot's migration script."
        ) from None
    _refuse_other_steps(steps, modes, file)
    found = {}
    for key, kind in ((STATE, "STATE"), (ACTION, "ACTION")):
        own = {
            name.removeprefix(f"{key}."): value.float()
            for name, value in state.items()
            if name.startswith(f"{key}.")
        }
        try:
            scale = Scale.from_statistics(modes.get(kind, "IDENTITY"), own, sizes[key])
        except (KeyError, ValueError) as error:
            raise BundleError(f"{file}: {key}: {error} is missing or unknown.") from None
        if scale.scale.shape != (sizes[key],):
            raise BundleError(
                f"{file}: statistics of {key} have {scale.scale.numel()} numbers, the policy "
                f"{sizes[key]}: they are of another policy."
            )
        found[key] = scale
    return found


def _refuse_other_steps(steps: list[dict[str, Any]], modes: dict[str, str], file: Path) -> None:
    for step in steps:
        config = step.get("config") or {}
        if "relative_action" in str(step.get("registry_name")) and config.get("enabled"):
            raise BundleError(
                f"{file}: actions relative to the state are not supported (use_relative_actions): "
                "fine-tune from it, or serve a policy of absolute or of chunk-relative actions."
            )
    if modes.get("VISUAL", "IDENTITY") != "IDENTITY":
        raise BundleError(f"{file}: images normalised by {modes['VISUAL']} are not supported.")


def write_smoothing(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Write `csp.safetensors`."""
    save_file({key: value.cpu() for key, value in tensors.items()}, folder / CSP_WEIGHTS)


def sha256(file: Path) -> str:
    """SHA-256 of a file in hexadecimal; of nothing where there is none."""
    digest = hashlib.sha256()
    if file.is_file():
        with file.open("rb") as handle:
            while block := handle.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def normalisation_sha256(scales: dict[str, Scale]) -> str:
    """Hash of what values are scaled by, however it is stored."""
    digest = hashlib.sha256()
    for key in sorted(scales):
        for values in (scales[key].offset, scales[key].scale):
            digest.update(values.float().cpu().numpy().tobytes())
    return digest.hexdigest()


def load_weights(file: Path) -> dict[str, Tensor]:
    """Tensors of a file.

    Raises:
        BundleError: It is missing or damaged.
    """
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{file} cannot be read ({error}): copy the checkpoint again.") from None


def mode_name(value: Any) -> str:
    """LeRobot's name of a normalisation, whose enumeration may be a string by now."""
    return str(getattr(value, "value", value))
