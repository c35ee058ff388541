"""Low-rank adaptation (arXiv 2106.09685): a frozen linear layer plus a trained product of two.

Small enough to own; `merge` puts the product into the layer, so that a checkpoint is one of the
plain model again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")


class LoraLinear(nn.Module):
    """y = W x + b + (alpha / rank) B A x, with B zero at first."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        """Wrap a layer, whose own weights are frozen."""
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        where = base.weight.device
        self.lora_a = nn.Parameter(torch.empty(rank, base.in_features, device=where))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank, device=where))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    @property
    def weight(self) -> Tensor:
        """That of the wrapped layer: LeRobot asks for its type."""
        return self.base.weight

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out), in the type of the wrapped layer."""
        small = nn.functional.linear(x.to(self.lora_a.dtype), self.lora_a)
        added = self.scale * nn.functional.linear(small, self.lora_b)
        whole: Tensor = self.base(x)
        return whole + added.to(whole.dtype)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The layer with the product in it."""
        self.base.weight += (self.scale * self.lora_b @ self.lora_a).to(self.base.weight.dtype)
        return self.base


def add_lora(model: nn.Module, within: tuple[str, ...], rank: int, alpha: float) -> int:
    """Wrap the attention's projections of parts of a model.

    Args:
        model: Whose layers are replaced.
        within: A layer is wrapped if one of these is in its name.
        rank: Of the product.
        alpha: Scale of the product, times `rank`.

    Returns:
        How many layers were wrapped.
    """
    chosen = [
        (parent, child, layer)
        for parent, child, layer, name in _linears(model)
        if child in TARGETS and any(part in name for part in within)
    ]
    for parent, child, layer in chosen:
        setattr(parent, child, LoraLinear(layer, rank, alpha))
    return len(chosen)


def merge_lora(model: nn.Module) -> None:
    """Put every product into its layer."""
    for parent in list(model.modules()):
        for child, layer in list(parent.named_children()):
            if isinstance(layer, LoraLinear):
                setattr(parent, child, layer.merged())


def _linears(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear, str]]:
    for name, parent in model.named_modules():
        for child, layer in parent.named_children():
            if isinstance(layer, nn.Linear):
                yield parent, child, layer, f"{name}.{child}"
