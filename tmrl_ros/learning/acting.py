"""What the policy server does with an observation: choose a chunk, and remember how and why."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from safetensors.torch import load, save
from torch import nn

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import Float32Array, FloatArray
from tmrl_ros.data.steering import FULL, Range, probed_scale
from tmrl_ros.learning.choosing.choice import (
    Choice,
    Episode,
    base_noise,
    decoded,
    unlearned_z,
)
from tmrl_ros.learning.choosing.reach import Boxes, Reach, Workspace, kept_out
from tmrl_ros.learning.learners.networks import Actor
from tmrl_ros.learning.learners.rerank import actor_and_critics
from tmrl_ros.learning.methods import Sizes, acting_module, chooser_for
from tmrl_ros.learning.warmup import Exploration, prior
from tmrl_ros.policies.ahead import NO_ROWS
from tmrl_ros.policies.context import feature_size
from tmrl_ros.policies.policy import Policy

WARMUP, LEARNED, BASE, PROBE = "warmup", "learned", "base", "probe"


@dataclass(frozen=True, kw_only=True)
class Decision(Choice):
    """A choice, what it was made from, features (F,), and by whom."""

    features: Float32Array
    actor: str
    parameters_version: int = 0
    committed_steps: int = 0


class ActingPolicy:
    """A frozen policy with what was learned on top; one per policy server."""

    def __init__(
        self,
        policy: Policy,
        method: MethodConfig,
        workspace: Workspace | None = None,
        *,
        row_m: float = math.inf,
        boxes: Boxes | None = None,
    ) -> None:
        """Starts without weights: base policy, or warm-up when the method learns.

        Args:
            policy: The frozen policy.
            method: How it is fine-tuned.
            workspace: Lowest and highest tool position (m, base frame); candidates keep within.
            row_m: Longest way from row to row that the supervisor does not slow down (m).
            boxes: Which the tool must not enter; whoever chooses, a chunk stops before them.
        """
        self.policy, self.method = policy, method
        self.version = 0
        context = policy.spec.context
        self._sizes = Sizes(feature_size(context), policy.z_size, context.size)
        self._reach = Reach(workspace, row_m, boxes)
        self._chooser = chooser_for(policy, method, self._reach)
        self._probed = method
        self._learned: nn.Module | None = None
        self._exploration = prior()
        self._mode = BASE
        self._episode = self._new_episode(0)

    def install(self, weights: bytes, metadata_json: str, version: int) -> None:
        """Take new weights; call it between episodes.

        Raises:
            ValueError: The weights are not of this method and policy.
        """
        module = acting_module(self.method, self._sizes)
        try:
            module.load_state_dict(load(weights))
        except RuntimeError as error:
            raise ValueError(
                f"the weights are not those of {self.method.name} for this policy: {error}"
            ) from None
        metadata = json.loads(metadata_json)
        self._narrow(Range(**metadata.get("steering", {})), module)
        self._exploration = Exploration.from_json(metadata["exploration"])
        self._learned = module.eval().requires_grad_(False)
        self.version = version

    def _narrow(self, steering: Range, module: nn.Module) -> None:
        """Keep to the range that probing has left."""
        narrowed = steering.narrowed(self.method)
        narrow_actor(module, narrowed, self.policy.z_size)
        self._chooser = chooser_for(self.policy, narrowed, self._reach)

    def begin_episode(self, *, index: int, seed: int, method: str, deterministic: bool) -> None:
        """Draw what stays the same over an episode: context noise, warm-up timestep, exploration.

        What is held keeps exploration coherent: context noise drawn anew at each chunk dithers
        between behaviours, and independent pushes of successive chunks cancel.
        """
        self._episode = self._new_episode(seed)
        self._episode.deterministic = deterministic
        scale = probed_scale(method)
        if method == BASE:
            self._mode = BASE
        elif scale is not None:
            self._mode, self._probed = PROBE, Range(scale).narrowed(self.method)
        elif self._learned is None or (index < self.method.warmup_episodes and not deterministic):
            t_context = self._exploration.choose(self._episode.rng)
            self._mode = WARMUP
            self._episode.warmup_t = t_context if self.method.steers_context else 0.0
        else:
            self._mode = LEARNED

    def _new_episode(self, seed: int) -> Episode:
        rng = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        eps = rng.standard_normal(self.policy.spec.context.size).astype(np.float32)
        return Episode(rng, generator, eps, deterministic=False, warmup_t=0.0)

    def features(self, context: Float32Array) -> Float32Array:
        """Features (F,) of a raw context (C,)."""
        return self.policy.features(context)

    def decide(self, context: Float32Array, committed: FloatArray = NO_ROWS) -> Decision:
        """Choose a chunk for a raw context (C,).

        Args:
            context: What the policy sees.
            committed: First rows (R, A) of the chunk, which are being carried out meanwhile.
        """
        self._episode.committed = committed
        features = self.features(context)
        choice = self._choice(context, features)
        choice = replace(choice, actions=self._kept_out(choice.actions, context))
        learned = self._mode == LEARNED
        return Decision(
            **vars(choice),
            features=features,
            actor=self.method.name if learned else self._mode,
            parameters_version=self.version if learned else 0,
            committed_steps=len(committed),
        )

    def _kept_out(self, actions: FloatArray, context: Float32Array) -> FloatArray:
        """A chunk (H, A) that the supervisor does not refuse for a box; most are not touched."""
        boxes = self._reach.boxes
        if boxes is None:
            return actions
        tool = context[self.policy.spec.context.parts()["state"]][:3]
        held = len(self._episode.committed)
        kept = kept_out(actions[None], tool.astype(np.float64), boxes, self._reach.row_m, held)
        chunk: FloatArray = kept[0]
        return chunk

    def _choice(self, context: Float32Array, features: Float32Array) -> Choice:
        committed = self._episode.committed
        if self._mode == BASE:
            noise = base_noise(self.policy, self._episode.rng)
            return decoded(self.policy, context, noise, 0.0, self._episode.eps, committed)
        if self._mode == PROBE:
            z = unlearned_z(self.policy, self._probed, self._episode.rng)
            return decoded(self.policy, context, z, 0.0, self._episode.eps, committed)
        if self._mode == WARMUP or self._learned is None:
            return self._chooser.warm_up(self._episode, context)
        return self._chooser.choose(self._episode, self._learned, context, features)


def narrow_actor(module: nn.Module, method: MethodConfig, z_size: int) -> None:
    """Give an actor of z, whose first values z is, the bound that its method has now."""
    actor, _ = actor_and_critics(module)
    if method.judges_noise and isinstance(actor, Actor):
        actor.bounds[:z_size] = method.z_bound


def pack_weights(
    acting: nn.Module, exploration: Exploration, steering: Range = FULL
) -> tuple[bytes, str]:
    """Weights as safetensors and metadata as JSON, for `PolicyParameters`."""
    tensors = {name: value.detach().clone() for name, value in acting.state_dict().items()}
    return save(tensors), json.dumps(
        {"exploration": exploration.to_json(), "steering": asdict(steering)}
    )
