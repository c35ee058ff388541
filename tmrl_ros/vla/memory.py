"""How much memory a fine-tuning needs, before anything is loaded.

Weights are counted from the head of `model.safetensors`, so a model of billions of weights is
refused in a second instead of ending in an out-of-memory error after minutes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from tmrl_ros.core.errors import BundleError, OperatorError
from tmrl_ros.core.vla_config import VlaTrainingConfig
from tmrl_ros.vla.lora import TARGETS
from tmrl_ros.vla.trainable import in_language, in_vlm, is_attention, trains

GIB = 2**30
FLOAT = 4
# Activations kept for the backward pass, per token, layer and unit of width: attention and gated
# MLP of a Gemma or Llama layer (inputs of the norms, q, k, v, o, gate, up, their product).
KEPT_PER_UNIT = 34
TOKENS = {"smolvla": (64, 48), "pi0": (256, 48), "pi05": (256, 200)}  # of an image, of a prompt


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by use."""

    weights: int
    gradients: int
    optimiser: int
    activations: int

    @property
    def total(self) -> int:
        """Sum of all."""
        return self.weights + self.gradients + self.optimiser + self.activations

    def sentence(self) -> str:
        """For people."""
        parts = (f"{name} {value / GIB:.2f}" for name, value in vars(self).items())
        return f"Memory of one process, about {self.total / GIB:.2f} GiB: {', '.join(parts)}."


def estimate(
    weights: Path, kind: str, horizon: int, cameras: int, settings: VlaTrainingConfig
) -> MemoryEstimate:
    """Count weights and guess activations (within a factor of two).

    Args:
        weights: `model.safetensors`.
        kind: Of `lerobot_classes.KINDS`.
        horizon: Rows of a chunk.
        cameras: Number of images.
        settings: Batch size, what is trained.

    Raises:
        BundleError: The file cannot be read.
    """
    shapes = read_shapes(weights)
    total = sum(math.prod(shape) for shape in shapes.values())
    if settings.train == "expert":
        trained = sum(math.prod(shape) for name, shape in shapes.items() if trains(name, "expert"))
    else:
        trained = sum(math.prod(s) for name, s in shapes.items() if trains(name, "lora"))
        trained += sum(
            settings.lora_rank * sum(shape)
            for name, shape in shapes.items()
            if is_attention(name, TARGETS) and (in_language(name) or not in_vlm(name))
        )
    image, prompt = TOKENS[kind]
    expert = _kept(shapes, horizon + 1, vlm=False)
    language = _kept(shapes, cameras * image + prompt, vlm=True)
    # The frozen language model keeps nothing, unless gradients go through it.
    through = settings.train == "lora" or kind == "smolvla"
    kept = settings.batch_size * (expert + (language if through else language // 8))
    return MemoryEstimate(FLOAT * total, FLOAT * trained, 2 * FLOAT * trained, FLOAT * kept)


def check_memory(found: MemoryEstimate, device: torch.device, fraction: float) -> None:
    """Refuse what does not fit.

    Raises:
        OperatorError: It needs more than that fraction of what is free.
    """
    free = free_bytes(device)
    if found.total > fraction * free:
        raise OperatorError(
            f"{found.sentence()} Of {free / GIB:.2f} GiB free on {device} {fraction:.0%} may be "
            "used: lower vla.batch_size, use vla=lora, or a larger GPU."
        )


def free_bytes(device: torch.device) -> int:
    """Free memory of a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def read_shapes(weights: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors by name, without loading them.

    Raises:
        BundleError: The file cannot be read.
    """
    try:
        with safe_open(weights, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{weights} cannot be read ({error}): name a checkpoint.") from None


def _kept(shapes: dict[str, tuple[int, ...]], tokens: int, *, vlm: bool) -> int:
    """Numbers kept per sample by the transformer of the expert or of the language model."""
    widths = [
        shape[0]
        for name, shape in shapes.items()
        if name.endswith("o_proj.weight") and in_vlm(name) == vlm and (in_language(name) or not vlm)
    ]
    return sum(KEPT_PER_UNIT * tokens * width for width in widths)
