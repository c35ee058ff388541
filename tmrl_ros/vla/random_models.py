"""Policies of random weights, for tests and measurements where no model can be downloaded.

They are LeRobot's own classes and files: "tiny" is a few layers deep and tens of numbers wide,
"full" as large as the published ones. What such a policy does means nothing; everything around it
is what a real one goes through.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from tmrl_ros.vla.backbone import IMAGES
from tmrl_ros.vla.building import (
    SIZES_FILE,
    TOKENIZER_FOLDER,
    VLM_FOLDER,
    GemmaSize,
    PiSizes,
    build_policy,
)
from tmrl_ros.vla.checkpoint_files import (
    ACTION,
    STATE,
    Deployment,
    mode_name,
    write_checkpoint,
)
from tmrl_ros.vla.lerobot_classes import policy_classes
from tmrl_ros.vla.load import ModelOptions, assemble, host
from tmrl_ros.vla.model import LerobotVla
from tmrl_ros.vla.processing import Scale, Statistics

Size = Literal["tiny", "full"]

IMAGE_SIZE = 32
VOCABULARY = 256 + 8
# Text, vision and pixels per token; "full" are those of SmolVLM2-500M, but for the vocabulary.
SMOLVLM: dict[Size, tuple[dict[str, int], dict[str, int], int]] = {
    "tiny": (
        {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "vocab_size": VOCABULARY,
        },
        {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": IMAGE_SIZE,
            "patch_size": 8,
        },
        2,
    ),
    "full": (
        {
            "hidden_size": 960,
            "intermediate_size": 2560,
            "num_hidden_layers": 32,
            "num_attention_heads": 15,
            "num_key_value_heads": 5,
            "head_dim": 64,
            "vocab_size": 49280,
        },
        {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "image_size": 512,
            "patch_size": 16,
        },
        4,
    ),
}
TINY_PI = PiSizes(
    language=GemmaSize(width=64, depth=2, mlp_dim=128, head_dim=16),
    expert=GemmaSize(width=32, depth=2, mlp_dim=64, head_dim=16),
    vision_width=32,
    vision_depth=1,
    vision_heads=2,
    patch=8,
    vocabulary=VOCABULARY,
)


@dataclass(frozen=True)
class Shapes:
    """What a policy looks at and makes."""

    cameras: tuple[str, ...] = ("wrist",)
    state_dim: int = 4
    action_dim: int = 4
    horizon: int = 8


def make_tiny(kind: str, folder: Path, shapes: Shapes | None = None, *, seed: int = 0) -> Path:
    """Write a tiny checkpoint.

    Args:
        kind: "smolvla", "pi0" or "pi05".
        folder: Where to.
        shapes: Cameras and sizes.
        seed: Decides weights and statistics.
    """
    shapes = shapes or Shapes()
    torch.manual_seed(seed)
    config = _prepared(kind, folder, shapes, "tiny")
    policy = build_policy(config, folder)
    _shake(policy)
    write_checkpoint(folder, policy, _statistics(shapes, seed), _deployment(kind, "tiny"))
    return folder


def random_model(
    kind: str, size: Size, folder: Path, shapes: Shapes, device: str, options: ModelOptions
) -> LerobotVla:
    """A model in memory, whose weights are never written; small files go to `folder`."""
    config = _prepared(kind, folder, shapes, size)
    where = torch.device(device)
    config.device = str(where)
    with where:  # random weights of billions are drawn in seconds on a GPU
        policy = build_policy(config, folder)
    statistics = _statistics(shapes, 0)
    sizes = {STATE: shapes.state_dim, ACTION: shapes.action_dim}
    modes = {STATE: "STATE", ACTION: "ACTION"}
    scales = {
        key: Scale.from_statistics(
            mode_name(config.normalization_mapping[modes[key]]), vars(statistics[key]), sizes[key]
        )
        for key in sizes
    }
    parts = assemble(folder, config, scales, _deployment(kind, size), where, policy)
    return host(parts, options)


def _prepared(kind: str, folder: Path, shapes: Shapes, size: Size) -> Any:
    """A configuration, with the files in `folder` that a policy of it is built from."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(folder / TOKENIZER_FOLDER)
    if kind == "smolvla":
        _write_vlm(folder / VLM_FOLDER, size)
    elif size == "tiny":
        (folder / SIZES_FILE).write_text(TINY_PI.model_dump_json(indent=2))
    return _config(kind, shapes, size)


def _statistics(shapes: Shapes, seed: int) -> dict[str, Statistics]:
    state, action = shapes.state_dim, shapes.action_dim
    return {STATE: Statistics.random(state, seed), ACTION: Statistics.random(action, seed + 1)}


def _deployment(kind: str, size: Size) -> Deployment:
    return Deployment(
        name=f"{size} {kind}", action_space="cartesian_relative", control_rate_hz=20.0
    )


def _config(kind: str, shapes: Shapes, size: Size) -> Any:
    classes = policy_classes(kind)
    from lerobot.configs.types import FeatureType, PolicyFeature

    inputs = {
        IMAGES + name: PolicyFeature(type=FeatureType.VISUAL, shape=(3, IMAGE_SIZE, IMAGE_SIZE))
        for name in shapes.cameras
    }
    inputs[STATE] = PolicyFeature(type=FeatureType.STATE, shape=(shapes.state_dim,))
    action = PolicyFeature(type=FeatureType.ACTION, shape=(shapes.action_dim,))
    values: dict[str, Any] = {
        "input_features": inputs,
        "output_features": {ACTION: action},
        "chunk_size": shapes.horizon,
        "n_action_steps": shapes.horizon,
        "device": "cpu",
        "push_to_hub": False,
    }
    if size == "tiny":
        square = (IMAGE_SIZE, IMAGE_SIZE)
        values |= {"max_state_dim": 8, "max_action_dim": 8}
        values["tokenizer_max_length"] = 64 if kind == "pi05" else 24
        if kind == "smolvla":
            values |= {"num_vlm_layers": 2, "resize_imgs_with_padding": square}
        else:
            values["image_resolution"] = square
    return classes.config(**values)


def _write_tokenizer(folder: Path) -> None:
    """A tokenizer of bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<bos>", "<eos>", "<unk>", "<fake_token_around_image>", "<global-img>"]
    special += ["<image>", "<end_of_utterance>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {word: number for number, word in enumerate([*special, *letters])}
    assert len(vocabulary) == VOCABULARY and set(string.ascii_letters) <= vocabulary.keys()
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        extra_special_tokens={
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "image_token": "<image>",
            "end_of_utterance_token": "<end_of_utterance>",
        },
    ).save_pretrained(folder)


def _write_vlm(folder: Path, size: Size) -> None:
    """Configuration and tokenizer of the vision-language model a SmolVLA is built on."""
    from transformers import SmolVLMConfig

    text, vision, factor = SMOLVLM[size]
    SmolVLMConfig(
        text_config={"model_type": "llama", "pad_token_id": 0, **text},
        vision_config=vision,
        scale_factor=factor,
        image_token_id=6,
        pad_token_id=0,
    ).save_pretrained(folder)
    _write_tokenizer(folder)


@torch.no_grad()
def _shake(policy: Any) -> None:
    """Make every weight count: some start at zero, and then images would change nothing."""
    for parameter in policy.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
