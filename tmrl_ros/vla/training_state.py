"""Checkpoints of a fine-tuning: trained weights and optimiser, safetensors and JSON, atomic.

Noise, batches and timesteps of a step are drawn from a seed made of the run's seed, the step and
the process, so a run that goes on needs no state of random generators.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tmrl_ros.core.errors import OperatorError

INDEX = "training.json"


def save_state(
    folder: Path, objective: nn.Module, optimiser: torch.optim.Optimizer, values: dict[str, Any]
) -> None:
    """Write tensors to a new file, then point the index at it; a crash leaves the old one.

    Args:
        folder: Of the run.
        objective: Whose trained weights are kept.
        optimiser: Its state is kept.
        values: JSON, with "step".
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"weight.{name}": value.detach().cpu() for name, value in trained(objective).items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{key}": value.cpu() for key, value in state.items()}
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    file = folder / f"training-{values['step']:09d}.safetensors"
    _write(file, lambda path: save_file(tensors, path))
    text = json.dumps({**values, "file": file.name})
    _write(folder / INDEX, lambda path: path.write_text(text))
    for old in [*folder.glob("training-*.safetensors"), *folder.glob("training*.tmp")]:
        if old != file:
            old.unlink()


def load_state(
    folder: Path,
    objective: nn.Module,
    optimiser: torch.optim.Optimizer,
    identity: dict[str, Any],
) -> dict[str, Any] | None:
    """Put a checkpoint back; None where there is none.

    Args:
        folder: Of the run.
        objective: Gets the weights.
        optimiser: Gets its state.
        identity: What must be as it was: settings, base model, data.

    Raises:
        OperatorError: It is damaged, or of a run with other settings.
    """
    index = folder / INDEX
    if not index.is_file():
        return None
    remedy = f"move {folder} away to begin anew"
    try:
        values: dict[str, Any] = json.loads(index.read_text())
        if different := [key for key in identity if values["identity"].get(key) != identity[key]]:
            raise OperatorError(
                f"{index} is of a run with other {different[0]}: {values['identity']}; use the "
                f"same to go on, or {remedy}."
            )
        tensors = load_file(folder / values["file"])
        own = trained(objective)
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(tensors[f"weight.{name}"])
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("adam."):
                _, number, field = key.split(".", 2)
                state.setdefault(int(number), {})[field] = value
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": state, "param_groups": groups})
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise OperatorError(f"The checkpoint {index} is damaged ({error}): {remedy}.") from None
    return values


def trained(objective: nn.Module) -> dict[str, nn.Parameter]:
    """Weights that are trained, by name."""
    return {name: item for name, item in objective.named_parameters() if item.requires_grad}


def _write(file: Path, write: Any) -> None:
    temporary = file.with_suffix(".tmp")
    write(temporary)
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    temporary.replace(file)
