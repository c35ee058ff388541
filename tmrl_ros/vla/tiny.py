"""Tiny checkpoints of random weights, for tests and rehearsals where no model can be downloaded.

They are LeRobot's own classes and files, only a few layers deep and tens of numbers wide. What
such a policy does means nothing; everything around it is what a real one goes through.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch

from tmrl_ros.vla.building import (
    SIZES_FILE,
    TOKENIZER_FOLDER,
    VLM_FOLDER,
    GemmaSize,
    PiSizes,
    build_policy,
)
from tmrl_ros.vla.checkpoint_files import Deployment, write_checkpoint
from tmrl_ros.vla.lerobot_classes import policy_classes
from tmrl_ros.vla.processing import Statistics

IMAGE_SIZE = 32
VOCABULARY = 256 + 8
TINY_PI = PiSizes(
    language=GemmaSize(width=64, depth=2, mlp_dim=128, head_dim=16),
    expert=GemmaSize(width=32, depth=2, mlp_dim=64, head_dim=16),
    vision_width=32,
    vision_depth=1,
    vision_heads=2,
    patch=8,
    vocabulary=VOCABULARY,
)


def make_tiny(
    kind: str,
    folder: Path,
    *,
    cameras: tuple[str, ...] = ("wrist",),
    state_dim: int = 4,
    action_dim: int = 4,
    horizon: int = 8,
    tokens: int = 0,
    seed: int = 0,
) -> Path:
    """Write a checkpoint of random weights.

    Args:
        kind: "smolvla", "pi0" or "pi05".
        folder: Where to.
        cameras: Names of cameras.
        state_dim: S.
        action_dim: A.
        horizon: H.
        tokens: Slots for the prompt; 0: enough for a short one (pi0.5: and for the state).
        seed: Decides weights and statistics.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    tokens = tokens or (64 if kind == "pi05" else 24)
    _write_tokenizer(folder / TOKENIZER_FOLDER)
    if kind == "smolvla":
        _write_vlm(folder / VLM_FOLDER)
    else:
        (folder / SIZES_FILE).write_text(TINY_PI.model_dump_json(indent=2))
    config = _config(kind, cameras, state_dim, action_dim, horizon, tokens)
    policy = build_policy(config, folder)
    _shake(policy)
    statistics = {
        "observation.state": Statistics.random(state_dim, seed),
        "action": Statistics.random(action_dim, seed + 1),
    }
    deployment = Deployment(
        name=f"tiny {kind}", action_space="cartesian_relative", control_rate_hz=20.0
    )
    write_checkpoint(folder, policy, statistics, deployment)
    return folder


def _config(
    kind: str, cameras: tuple[str, ...], state: int, action: int, horizon: int, tokens: int
) -> Any:
    classes = policy_classes(kind)
    from lerobot.configs.types import FeatureType, PolicyFeature  # type: ignore[import-not-found]

    inputs = {
        f"observation.images.{name}": PolicyFeature(
            type=FeatureType.VISUAL, shape=(3, IMAGE_SIZE, IMAGE_SIZE)
        )
        for name in cameras
    }
    inputs["observation.state"] = PolicyFeature(type=FeatureType.STATE, shape=(state,))
    common = {
        "input_features": inputs,
        "output_features": {"action": PolicyFeature(type=FeatureType.ACTION, shape=(action,))},
        "chunk_size": horizon,
        "n_action_steps": horizon,
        "max_state_dim": 8,
        "max_action_dim": 8,
        "tokenizer_max_length": tokens,
        "device": "cpu",
        "push_to_hub": False,
    }
    if kind == "smolvla":
        return classes.config(
            **common, num_vlm_layers=2, resize_imgs_with_padding=(IMAGE_SIZE, IMAGE_SIZE)
        )
    return classes.config(**common, image_resolution=(IMAGE_SIZE, IMAGE_SIZE))


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


def _write_vlm(folder: Path) -> None:
    """Configuration and tokenizer of the vision-language model a SmolVLA is built on."""
    from transformers import SmolVLMConfig

    SmolVLMConfig(
        text_config={
            "model_type": "llama",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "vocab_size": VOCABULARY,
            "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": IMAGE_SIZE,
            "patch_size": 8,
        },
        scale_factor=2,
        image_token_id=6,
        pad_token_id=0,
    ).save_pretrained(folder)
    _write_tokenizer(folder)


@torch.no_grad()
def _shake(policy: Any) -> None:
    """Make every weight count: some start at zero, and then images would change nothing."""
    for parameter in policy.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
