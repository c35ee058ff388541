"""One way to run LeRobot's flow-matching VLAs: prefix, cache, velocity.

pi0 and SmolVLA differ in where the state goes and in how masks and caches are passed; what they
have in common is a prefix of image and text tokens that a language model turns into keys and
values once, and an action expert that reads those at every step of the flow. These functions call
LeRobot's own modules in LeRobot's own order, so that at t_context = 0 the numbers are the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from tmrl_ros.core.errors import OperatorError

IMAGES, STATE = "observation.images.", "observation.state"
TOKENS, TOKEN_MASK = "observation.language.tokens", "observation.language.attention_mask"


class Kind(IntEnum):
    """What a token of the prefix stands for."""

    IMAGE = 0
    TEXT = 1
    STATE = 2


@dataclass(frozen=True)
class Prefix:
    """What the language model is given: embeddings before its first layer.

    Attributes:
        embeddings: (B, S, D).
        valid: (B, S), False where a slot is padding or a camera is missing.
        blocks: (B, S), LeRobot's `att_masks`: 1 begins a block that those before do not see.
        kinds: (S,) of `Kind`.
    """

    embeddings: Tensor
    valid: Tensor
    blocks: Tensor
    kinds: Tensor


@dataclass(frozen=True)
class Cache:
    """Keys and values of u prefixes, (u, heads, S, head size) per layer, and their masks (u, S)."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    valid: Tensor

    def rows(self, index: Tensor) -> Cache:
        """The cache of every candidate: prefix `index` (n,); a single one is not copied."""
        count = len(index)
        if len(self.valid) == 1:
            return Cache(
                tuple(item.expand(count, -1, -1, -1) for item in self.keys),
                tuple(item.expand(count, -1, -1, -1) for item in self.values),
                self.valid.expand(count, -1),
            )
        return Cache(
            tuple(item[index] for item in self.keys),
            tuple(item[index] for item in self.values),
            self.valid[index],
        )


class Backbone(ABC):
    """A LeRobot policy; `width` is that of the prefix, `time_width` where times are added."""

    def __init__(self, policy: Any) -> None:
        """Take a policy that `building.build_policy` made."""
        self.policy, self.model, self.config = policy, policy.model, policy.config
        self.horizon = int(policy.config.chunk_size)
        self.padded_action = int(policy.config.max_action_dim)

    width: int
    time_width: int

    @property
    @abstractmethod
    def steps(self) -> int:
        """Euler steps of the flow."""

    @abstractmethod
    def embed(self, batch: dict[str, Tensor]) -> Prefix:
        """Embed an observation: LeRobot's batch, with images 0..1 and a normalised state."""

    @abstractmethod
    def prefill(self, embeddings: Tensor, valid: Tensor, blocks: Tensor) -> Cache:
        """Keys and values of prefixes (u, S, D)."""

    @abstractmethod
    def velocity(
        self, x: Tensor, time: Tensor, cache: Cache, state: Tensor, context_time: Tensor
    ) -> Tensor:
        """Velocity of the flow at x (n, H, padded A).

        Args:
            x: Chunks on the path, padded to the model's width.
            time: (n,), 1 = noise.
            cache: Of n prefixes.
            state: (n, padded S).
            context_time: (n, time_width), added to the embedding of the action's time.
        """

    def padded_state(self, batch: dict[str, Tensor]) -> Tensor:
        """The state (B, padded S) of a batch."""
        found: Tensor = self.policy.prepare_state(batch)
        return found

    def _kinds(self, embeddings: Tensor, text: int, state: int) -> Tensor:
        """Which tokens are what; images come first, then text, then state."""
        images = embeddings.shape[1] - text - state
        kinds = [Kind.IMAGE] * images + [Kind.TEXT] * text + [Kind.STATE] * state
        return torch.tensor(kinds, device=embeddings.device)


class SmolVlaBackbone(Backbone):
    """SmolVLA: the state is the last token of the prefix."""

    def __init__(self, policy: Any) -> None:
        """See `Backbone`."""
        super().__init__(policy)
        if int(self.config.prefix_length) > 0:
            raise OperatorError("config.json: prefix_length is not supported: set it to -1.")
        joint = self.model.vlm_with_expert
        self.width = int(joint.config.text_config.hidden_size)
        self.time_width = int(joint.expert_hidden_size)

    @property
    def steps(self) -> int:
        """See `Backbone`."""
        return int(self.config.num_steps)

    def embed(self, batch: dict[str, Tensor]) -> Prefix:
        """See `Backbone`."""
        images, masks = self.policy.prepare_images(batch)
        tokens, words = batch[TOKENS], batch[TOKEN_MASK]
        embeddings, valid, blocks = self.model.embed_prefix(
            images, masks, tokens, words, state=self.padded_state(batch)
        )
        kinds = self._kinds(embeddings, tokens.shape[1], 1)
        return Prefix(embeddings, valid, blocks, kinds)

    def prefill(self, embeddings: Tensor, valid: Tensor, blocks: Tensor) -> Cache:
        """See `Backbone`."""
        from lerobot.policies.common.vla_utils import make_att_2d_masks

        _, cache = self.model.vlm_with_expert.forward(
            attention_mask=make_att_2d_masks(valid, blocks),
            position_ids=torch.cumsum(valid, dim=1) - 1,
            past_key_values=None,
            inputs_embeds=[embeddings, None],
            use_cache=True,
        )
        return _stored(cache, valid)

    def velocity(
        self, x: Tensor, time: Tensor, cache: Cache, state: Tensor, context_time: Tensor
    ) -> Tensor:
        """See `Backbone`."""
        suffix, valid, blocks = self.model.embed_suffix(x, time)
        suffix = suffix + context_time[:, None].to(suffix.dtype)
        mask, positions = _suffix_masks(cache.valid, valid, blocks)
        outputs, _ = self.model.vlm_with_expert.forward(
            attention_mask=mask,
            position_ids=positions,
            past_key_values=_dynamic(cache),
            inputs_embeds=[None, suffix],
            use_cache=True,
        )
        found: Tensor = self.model.action_out_proj(outputs[1][:, -self.horizon :].float())
        return found


class PiBackbone(Backbone):
    """pi0: the state is the first token of the suffix. pi0.5: it is in the prompt."""

    def __init__(self, policy: Any) -> None:
        """See `Backbone`."""
        super().__init__(policy)
        joint = self.model.paligemma_with_expert
        self._joint = joint
        self.width = int(joint.paligemma.config.text_config.hidden_size)
        self.time_width = int(joint.gemma_expert.config.hidden_size)
        self._adaptive = self.config.type == "pi05"
        # As LeRobot's sample_actions sets it: the masks are additive.
        joint.paligemma.model.language_model.config._attn_implementation = "eager"
        joint.gemma_expert.model.config._attn_implementation = "eager"

    @property
    def steps(self) -> int:
        """See `Backbone`."""
        return int(self.config.num_inference_steps)

    def padded_state(self, batch: dict[str, Tensor]) -> Tensor:
        """See `Backbone`; pi0.5 needs none."""
        return batch[STATE] if self._adaptive else super().padded_state(batch)

    def embed(self, batch: dict[str, Tensor]) -> Prefix:
        """See `Backbone`."""
        images, masks = self.policy._preprocess_images(batch)
        tokens = batch[TOKENS]
        embeddings, valid, blocks = self.model.embed_prefix(
            images, masks, tokens, batch[TOKEN_MASK]
        )
        kinds = self._kinds(embeddings, tokens.shape[1], 0)
        return Prefix(embeddings, valid, blocks, kinds)

    def prefill(self, embeddings: Tensor, valid: Tensor, blocks: Tensor) -> Cache:
        """See `Backbone`."""
        from lerobot.policies.common.vla_utils import make_att_2d_masks, prepare_attention_masks_4d

        _, cache = self._joint.forward(
            attention_mask=prepare_attention_masks_4d(make_att_2d_masks(valid, blocks)),
            position_ids=torch.cumsum(valid, dim=1) - 1,
            past_key_values=None,
            inputs_embeds=[embeddings, None],
            use_cache=True,
        )
        return _stored(cache, valid)

    def velocity(
        self, x: Tensor, time: Tensor, cache: Cache, state: Tensor, context_time: Tensor
    ) -> Tensor:
        """See `Backbone`."""
        from lerobot.policies.common.vla_utils import prepare_attention_masks_4d

        if self._adaptive:
            suffix, valid, blocks, condition = self.model.embed_suffix(x, time)
            condition = condition + context_time.to(condition.dtype)
        else:
            suffix, valid, blocks, condition = self.model.embed_suffix(state, x, time)
            actions = suffix[:, 1:] + context_time[:, None].to(suffix.dtype)
            suffix = torch.cat([suffix[:, :1], actions], dim=1)
        mask, positions = _suffix_masks(cache.valid, valid, blocks)
        outputs, _ = self._joint.forward(
            attention_mask=prepare_attention_masks_4d(mask),
            position_ids=positions,
            past_key_values=_dynamic(cache),
            inputs_embeds=[None, suffix],
            use_cache=False,
            adarms_cond=[None, condition],
        )
        found: Tensor = self.model.action_out_proj(outputs[1][:, -self.horizon :].float())
        return found


def backbone_of(policy: Any) -> Backbone:
    """The way to run a policy of one of `lerobot_classes.KINDS`."""
    return SmolVlaBackbone(policy) if policy.config.type == "smolvla" else PiBackbone(policy)


def _suffix_masks(prefix: Tensor, suffix: Tensor, blocks: Tensor) -> tuple[Tensor, Tensor]:
    """What actions see (n, L, S + L) and their positions (n, L), as in LeRobot's denoise_step."""
    from lerobot.policies.common.vla_utils import make_att_2d_masks

    count, length = suffix.shape
    seen = prefix[:, None, :].expand(count, length, prefix.shape[1])
    mask = torch.cat([seen, make_att_2d_masks(suffix, blocks)], dim=2)
    return mask, prefix.sum(-1)[:, None] + torch.cumsum(suffix, dim=1) - 1


def _stored(cache: Any, valid: Tensor) -> Cache:
    layers = cache.layers
    return Cache(
        tuple(layer.keys for layer in layers), tuple(layer.values for layer in layers), valid
    )


def _dynamic(cache: Cache) -> Any:
    """The cache as transformers takes it; what a step appends is left behind with it."""
    from transformers import DynamicCache

    return DynamicCache(tuple(zip(cache.keys, cache.values, strict=True)))
