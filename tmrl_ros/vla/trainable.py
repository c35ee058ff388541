"""Which weights of a VLA are what, by their names in LeRobot's policies."""

from __future__ import annotations

from typing import Any

from tmrl_ros.vla.lora import add_lora

VLM = (".paligemma.", "vlm_with_expert.vlm.")
LANGUAGE = (".paligemma.model.language_model.layers.", ".vlm.model.text_model.layers.")
EXPERT = (".gemma_expert.model.layers.", ".lm_expert.layers.")
HEADS = "lm_head"  # of language models; actions do not pass them


def in_vlm(name: str) -> bool:
    """Whether a weight is the vision-language model's."""
    return any(part in name for part in VLM)


def in_language(name: str) -> bool:
    """Whether a weight is in a layer of its language model."""
    return any(part in name for part in LANGUAGE)


def is_attention(name: str, targets: tuple[str, ...]) -> bool:
    """Whether a weight is that of one of the attention's projections in a transformer."""
    here = in_language(name) or any(part in name for part in EXPERT)
    return here and any(name.endswith(f"{target}.weight") for target in targets)


def trains(name: str, what: str) -> bool:
    """Whether a weight of the policy itself is trained: "expert" all of the expert, "lora" none.

    The projections of state, action and time are trained either way.
    """
    if in_vlm(name) or HEADS in name:
        return False
    return what == "expert" or not ("gemma_expert" in name or "lm_expert" in name)


def prepare(policy: Any, what: str, rank: int, alpha: float) -> None:
    """Freeze what stays and add what is trained."""
    for name, parameter in policy.named_parameters():
        parameter.requires_grad_(trains(name, what))
    if what == "lora":
        add_lora(policy, (*LANGUAGE, *EXPERT), rank, alpha)
