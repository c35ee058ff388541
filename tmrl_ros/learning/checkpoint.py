"""Write and read a learner's state: tensors as safetensors, the rest as JSON; never pickled."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.learning.learners.learner import Learner

NAME = "learner"


def save_checkpoint(folder: Path, learner: Learner, extra: dict[str, Any]) -> Path:
    """Write the tensors to a new file, then point `learner.json` at it; a crash leaves the old one.

    Args:
        folder: The session's checkpoints folder.
        learner: What to save: weights, optimisers, random states, counters.
        extra: JSON values of the caller (what was learned through, updates owed).
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = learner.parts()
    tensors = {name: value.detach().clone() for name, value in parts.scalars.items()}
    for name, module in parts.modules.items():
        tensors |= {
            f"{name}.{key}": value.detach().clone() for key, value in module.state_dict().items()
        }
    for name, optimiser in parts.optimisers.items():
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {
                f"{name}.{index}.{key}": value.detach().clone() for key, value in state.items()
            }
    tensors["generator"] = learner.generator.get_state()
    file = folder / f"{NAME}-{learner.updates:09d}.safetensors"
    temporary = file.with_suffix(".tmp")
    save_file(tensors, temporary)
    _replace(temporary, file)
    values = {
        "file": file.name,
        "updates": learner.updates,
        "rng": learner.rng.bit_generator.state,
        "method": learner.method.model_dump(),
        "extra": extra,
    }
    index = folder / f"{NAME}.json"
    temporary = index.with_suffix(".tmp")
    temporary.write_text(json.dumps(values))
    _replace(temporary, index)
    # Older ones, and what a killed learner left half written.
    for old in [*folder.glob(f"{NAME}-*.safetensors"), *folder.glob(f"{NAME}*.tmp")]:
        if old != file:
            old.unlink()
    return file


def load_checkpoint(folder: Path, learner: Learner) -> dict[str, Any] | None:
    """Put a checkpoint back; returns its `extra`, or None when there is no checkpoint.

    Raises:
        OperatorError: The checkpoint is damaged or of another method.
    """
    index = folder / f"{NAME}.json"
    if not index.is_file():
        return None
    remedy = f"move {folder} away to learn again from the bags"
    try:
        values = json.loads(index.read_text())
        tensors = load_file(folder / values["file"])
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise OperatorError(f"The checkpoint {index} is damaged ({error}): {remedy}.") from None
    if not _same_method(values["method"], learner.method):
        raise OperatorError(
            f"The checkpoint {index} was made with other method settings: {remedy}."
        )
    parts = learner.parts()
    try:
        for name, module in parts.modules.items():
            module.load_state_dict(_under(tensors, name))
        for name, optimiser in parts.optimisers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in _under(tensors, name).items():
                number, _, field = key.partition(".")
                state.setdefault(int(number), {})[field] = value
            optimiser.load_state_dict(
                {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}
            )
        with torch.no_grad():
            for name, scalar in parts.scalars.items():
                scalar.copy_(tensors[name])
        learner.generator.set_state(tensors["generator"])
        learner.rng.bit_generator.state = values["rng"]
    except (RuntimeError, KeyError, ValueError) as error:
        raise OperatorError(
            f"The checkpoint {index} does not fit this policy ({error}): {remedy}."
        ) from None
    learner.updates = int(values["updates"])
    extra: dict[str, Any] = values["extra"]
    return extra


def set_aside(folder: Path, method: MethodConfig) -> bool:
    """Move the checkpoint of another method, or of other settings, into a folder of its own.

    Returns:
        Whether learning begins anew: there is no checkpoint of this method, but there was one of
        another.
    """
    index = folder / f"{NAME}.json"
    if not index.is_file():
        return any(folder.glob(f"*/{NAME}.json"))
    try:
        values = json.loads(index.read_text())
        name, updates = values["method"]["name"], int(values["updates"])
        if _same_method(values["method"], method):
            return False
    except (OSError, ValueError, KeyError, TypeError):
        return False  # damaged: `load_checkpoint` says so
    aside = _unused(folder / f"{name}-{updates:09d}")
    aside.mkdir(parents=True)
    # The index goes last: a crash in between leaves a checkpoint that is still read as a whole.
    tensors = folder / values["file"]
    if tensors.is_file():
        os.link(tensors, aside / tensors.name)
    index.replace(aside / index.name)
    tensors.unlink(missing_ok=True)
    return True


def _unused(folder: Path) -> Path:
    candidates = [folder, *(folder.with_name(f"{folder.name}-{k}") for k in range(2, 100))]
    return next(path for path in candidates if not path.exists())


def _same_method(recorded: dict[str, Any], method: MethodConfig) -> bool:
    """Whether recorded settings are these; what an older version did not know has its default."""
    try:
        return MethodConfig.model_validate(recorded) == method
    except ValidationError:
        return False


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        key[len(prefix) + 1 :]: value
        for key, value in tensors.items()
        if key.startswith(prefix + ".")
    }


def _replace(temporary: Path, final: Path) -> None:
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    temporary.replace(final)
