"""From an observation to the numbers a policy and an actor see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from tmrl_ros.core.types import Float32Array
from tmrl_ros.policies.prompt import embed_prompt

STATE_SIZE = 4  # end effector x, y, z (m) and gripper opening (0..1)
RELATIVE_SCALE_M = 0.1  # object-to-gripper distances in actor features are in units of this
WORKSPACE_SCALE_M = 0.15
WORKSPACE_CENTRE_M = np.array([0.5, 0.0, 0.1], np.float32)


@dataclass(frozen=True)
class ContextSpec:
    """What the context vector of a policy is made of, in this order: prompt, objects, state.

    Attributes:
        objects: Names of the objects, 3 coordinates each (m, base frame).
        prompt_size: Dimensions of the prompt embedding; 0 when the policy takes no prompt.
        smoothed: Parts that context-smoothed pre-training noises: of "prompt", "objects", "state".
    """

    objects: tuple[str, ...]
    prompt_size: int
    smoothed: tuple[str, ...]

    @property
    def size(self) -> int:
        """Length of the context vector."""
        return self.prompt_size + 3 * len(self.objects) + STATE_SIZE

    def parts(self) -> dict[str, slice]:
        """Where each part lies in the context vector."""
        first = self.prompt_size
        second = first + 3 * len(self.objects)
        return {
            "prompt": slice(0, first),
            "objects": slice(first, second),
            "state": slice(second, second + STATE_SIZE),
        }

    def smoothed_mask(self) -> Float32Array:
        """(size,) with 1 where the context is noised.

        Raises:
            ValueError: A smoothed part does not exist.
        """
        mask = np.zeros(self.size, np.float32)
        for name in self.smoothed:
            if name not in self.parts():
                raise ValueError(f"smoothed part {name!r} is not one of {sorted(self.parts())}")
            mask[self.parts()[name]] = 1.0
        return mask

    def context(self, prompt: str, objects: Float32Array, state: Float32Array) -> Float32Array:
        """Raw context vector from a prompt, object positions (K, 3) and state (4,)."""
        embedded = (
            embed_prompt(prompt, self.prompt_size) if self.prompt_size else np.zeros(0, np.float32)
        )
        return np.concatenate([embedded, objects.ravel(), state]).astype(np.float32)

    def select_objects(self, names: Sequence[str], positions: Float32Array) -> Float32Array:
        """The policy's objects (K, 3), in its order, from the observed ones.

        Raises:
            ValueError: An object of the policy is not observed.
        """
        missing = [name for name in self.objects if name not in names]
        if missing:
            raise ValueError(f"the observation has no object {missing[0]!r}, it has {list(names)}")
        positions = np.asarray(positions, np.float32).reshape(-1, 3)
        selected: Float32Array = positions[[list(names).index(name) for name in self.objects]]
        return selected


def actor_features(raw_context: Float32Array, spec: ContextSpec) -> Float32Array:
    """What actor and critics see: where objects and gripper are, and objects from the gripper.

    Scaled by lengths of a table-top cell rather than by the demonstrations' spread: fine-tuning
    goes where demonstrations never were. The prompt is left out: within one run it does not change.

    Returns:
        (3K + 4 + 3K,) float32, clipped to +-5.
    """
    parts = spec.parts()
    objects = raw_context[parts["objects"]].reshape(-1, 3)
    state = raw_context[parts["state"]]
    placed = (objects - WORKSPACE_CENTRE_M) / WORKSPACE_SCALE_M
    own = np.append((state[:3] - WORKSPACE_CENTRE_M) / WORKSPACE_SCALE_M, 2 * state[3] - 1)
    relative = (objects - state[:3]) / RELATIVE_SCALE_M
    values = np.concatenate([placed.ravel(), own, relative.ravel()])
    features: Float32Array = np.clip(values, -5.0, 5.0).astype(np.float32)
    return features


def relative_objects(features: Tensor) -> Tensor:
    """Where the objects are from the tool, of features (B, F): (B, K, 3) in `RELATIVE_SCALE_M`."""
    objects = (features.shape[-1] - STATE_SIZE) // 6
    return features[..., 3 * objects + STATE_SIZE :].reshape(*features.shape[:-1], objects, 3)


def move_scene(features: Tensor, shift_m: Tensor) -> Tensor:
    """Features (B, F) of the same scenes, tool included, moved by `shift_m` (B, 2) in x and y."""
    objects = (features.shape[-1] - STATE_SIZE) // 6
    moved = features.clone()
    for first in range(0, 3 * (objects + 1), 3):  # the objects, then the tool
        moved[:, first : first + 2] += shift_m / WORKSPACE_SCALE_M
    return moved


def feature_size(spec: ContextSpec) -> int:
    """Length of `actor_features`."""
    return 6 * len(spec.objects) + STATE_SIZE
