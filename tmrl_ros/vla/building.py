"""Build LeRobot's policies at the size a checkpoint has, without a network.

LeRobot builds pi0 and pi0.5 in two fixed sizes and SmolVLA from a folder or a hub name. A
checkpoint may bring `sizes.json` (pi0, pi0.5) or a folder `vlm` (SmolVLA): then its models are
built as those say, from the same classes.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tmrl_ros.core.errors import OperatorError
from tmrl_ros.vla.lerobot_classes import PolicyClasses, policy_classes

SIZES_FILE = "sizes.json"
VLM_FOLDER = "vlm"
TOKENIZER_FOLDER = "tokenizer"


class _Sizes(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GemmaSize(_Sizes):
    """A Gemma transformer; LeRobot's training code takes 8 heads for granted."""

    width: int = Field(ge=8)
    depth: int = Field(ge=1)
    mlp_dim: int = Field(ge=8)
    num_heads: int = 8
    num_kv_heads: int = 1
    head_dim: int = Field(ge=4)


class PiSizes(_Sizes):
    """Sizes of a pi0 or pi0.5 that is neither of LeRobot's own."""

    language: GemmaSize
    expert: GemmaSize
    vision_width: int = Field(ge=8)
    vision_depth: int = Field(ge=1)
    vision_heads: int = Field(ge=1)
    patch: int = Field(ge=2)
    vocabulary: int = Field(ge=16)


def build_policy(config: Any, folder: Path | None) -> Any:
    """A policy of random weights for a LeRobot configuration, with the sizes of a checkpoint.

    Args:
        config: LeRobot's configuration of one of `lerobot_classes.KINDS`.
        folder: Of the checkpoint; None for LeRobot's own sizes.

    Raises:
        OperatorError: Files that are needed are neither in the folder nor on the hub.
    """
    classes = policy_classes(config.type)
    config.compile_model = False  # we compile a step of the flow ourselves
    with contextlib.ExitStack() as stack:
        if config.type == "smolvla":
            if folder is not None and (folder / VLM_FOLDER).is_dir():
                config.vlm_model_name = str(folder / VLM_FOLDER)
            config.load_vlm_weights = False  # they are part of the checkpoint
            module = importlib.import_module("lerobot.policies.smolvla.smolvlm_with_expert")
            # Of the processor only its tokenizer is used; the rest of it needs torchvision.
            stack.enter_context(_named(module, AutoProcessor=_TokenizerAlone))
        elif folder is not None and (folder / SIZES_FILE).is_file():
            stack.enter_context(_sized(classes, read_sizes(folder / SIZES_FILE)))
        try:
            return classes.policy(config)
        except OSError as error:
            raise OperatorError(
                f"{config.vlm_model_name}, which {folder or 'the policy'} is built on, is not here "
                f"({_first_line(error)}): put its configuration and tokenizer into the "
                f"checkpoint's folder {VLM_FOLDER}/, or allow access to the hub."
            ) from None


def read_sizes(file: Path) -> PiSizes:
    """Read `sizes.json`.

    Raises:
        OperatorError: It is not such a file.
    """
    try:
        return PiSizes.model_validate_json(file.read_text())
    except ValidationError as error:
        raise OperatorError(f"{file} does not say the sizes of a pi0: {error}.") from None


@contextlib.contextmanager
def _sized(classes: PolicyClasses, sizes: PiSizes) -> Iterator[None]:
    """While this lasts, LeRobot's pi0 is built in these sizes."""
    module = classes.modelling
    whole, expert = module.PaliGemmaForConditionalGenerationWithPiGemma, module.PiGemmaForCausalLM
    variants = {"gemma_2b": sizes.language, "gemma_300m": sizes.expert}

    def gemma(variant: str) -> Any:
        return module.GemmaConfig(**variants[variant].model_dump())

    def language_and_vision(config: Any) -> Any:
        config.text_config.vocab_size = sizes.vocabulary
        config.image_token_index = config.image_token_id = sizes.vocabulary - 1
        vision = config.vision_config
        vision.hidden_size, vision.num_hidden_layers = sizes.vision_width, sizes.vision_depth
        vision.num_attention_heads, vision.patch_size = sizes.vision_heads, sizes.patch
        vision.intermediate_size = 4 * sizes.vision_width
        vision.projection_dim = config.projection_dim = sizes.language.width
        return whole(config=config)

    def action_expert(config: Any) -> Any:
        config.vocab_size = sizes.vocabulary
        return expert(config=config)

    with _named(
        module,
        get_gemma_config=gemma,
        PaliGemmaForConditionalGenerationWithPiGemma=language_and_vision,
        PiGemmaForCausalLM=action_expert,
    ):
        yield


class _TokenizerAlone:
    """Stands for `AutoProcessor` where only the tokenizer of a processor is used."""

    @staticmethod
    def from_pretrained(name: str) -> SimpleNamespace:
        from transformers import AutoTokenizer

        return SimpleNamespace(tokenizer=AutoTokenizer.from_pretrained(name))


@contextlib.contextmanager
def _named(module: ModuleType, **names: Any) -> Iterator[None]:
    """Give names of a module another meaning for a while."""
    before = {name: getattr(module, name) for name in names}
    vars(module).update(names)
    try:
        yield
    finally:
        vars(module).update(before)


def to_half(policy: Any) -> None:
    """Weights of the transformers in bfloat16, as LeRobot serves them; projections stay float32."""
    if policy.config.type == "smolvla":
        policy.model.vlm_with_expert.to(torch.bfloat16)
    else:
        policy.model.paligemma_with_expert.to_bfloat16_for_selected_params("bfloat16")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
