"""One of this project's own policy bundles as a model that a policy server can host."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.errors import BundleError
from tmrl_ros.core.methods import Capability
from tmrl_ros.core.types import Float32Array
from tmrl_ros.policies.capabilities import offered
from tmrl_ros.policies.context import STATE_SIZE
from tmrl_ros.policies.onnx_backend import load_policy
from tmrl_ros.policies.policy import ChunkPolicy
from tmrl_ros.vla.interface import VlaAnswer, VlaRequest, VlaSpec, expand_noise

NOT_REMOTE = ("context_noise", "plans")


class BundleModel:
    """A bundle of named objects.

    Its state is what perception finds: x, y, z of every object of the bundle, in its order (metres,
    base frame), then the tool's x, y, z and the gripper's opening 0..1. It looks at no images. Its
    prefix is that state.
    """

    def __init__(self, policy: ChunkPolicy) -> None:
        """Take a loaded policy.

        Raises:
            BundleError: It looks at points or images, which this adapter does not carry.
        """
        if policy.needs_pictures:
            raise BundleError(
                f"A policy that looks at {policy.spec.observation.kind} cannot be served yet, one "
                "of named objects can: run this one where the graph runs (policy=local)."
            )
        self._policy = policy
        self.spec, self.bundle = spec_of(policy), policy.spec.model_dump(mode="json")

    def infer(self, request: VlaRequest) -> VlaAnswer:
        """Sample chunks; without noise it is drawn for every row, as in training.

        Raises:
            ValueError: The prompt has no letters, where the policy takes one.
        """
        return self._infer(request, [request.context_seed])

    def infer_seeded(self, request: VlaRequest, seeds: NDArray[np.int64]) -> VlaAnswer:
        """The same with a seed (n,) of the context noise for every sample."""
        return self._infer(request, seeds.tolist())

    def _infer(self, request: VlaRequest, seeds: Sequence[int | None]) -> VlaAnswer:
        started = time.perf_counter()
        policy, n = self._policy, request.samples
        context = policy.spec.context
        objects = request.state[:-STATE_SIZE].reshape(-1, 3)
        row = context.context(request.prompt, objects, request.state[-STATE_SIZE:])
        t = np.zeros(n, np.float32) if request.t_context is None else request.t_context
        eps = np.stack([context_noise(seed, context.size) for seed in seeds])
        actions = policy.sample(
            np.repeat(row[None], n, 0),
            self._noise(request),
            t,
            eps if len(eps) == n else np.repeat(eps, n, 0),
            None if request.committed is None else request.committed.astype(np.float64),
        )
        elapsed_ms = (time.perf_counter() - started) * 1e3
        return VlaAnswer(
            actions.astype(np.float32), request.state.astype(np.float32), {"flow_ms": elapsed_ms}
        )

    def _noise(self, request: VlaRequest) -> Float32Array:
        action = self._policy.spec.action
        if request.noise is not None:
            return expand_noise(request.noise, action.horizon)
        shape = (request.samples, action.horizon, action.size)
        drawn: Float32Array = np.random.default_rng().standard_normal(shape).astype(np.float32)
        return drawn

    def warm_up(self) -> None:
        """Run the network once."""
        state = np.zeros(self.spec.state_dim, np.float32)
        self.infer(VlaRequest({}, state, "warm up", samples=1))


def load_bundle_model(folder: Path, threads: int = 1) -> BundleModel:
    """Load a bundle's folder.

    Raises:
        BundleError: It is missing, damaged, or looks at what cannot be sent.
    """
    return BundleModel(load_policy(folder, threads=threads)[0])


def context_noise(seed: int | None, size: int) -> Float32Array:
    """The context noise (C,) of a seed; fresh without one."""
    noise: Float32Array = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    return noise


def spec_of(policy: ChunkPolicy) -> VlaSpec:
    """What a bundle's policy is, in the protocol's terms."""
    spec = policy.spec
    capabilities = {item.value for item in offered(spec) if item not in NOT_REMOTE}
    capabilities.add(Capability.COMMITTED.value)  # every flow policy of ours can
    if Capability.ACTION_NOISE in offered(spec):
        capabilities.add("low_rank_noise")
    return VlaSpec(
        name=f"{spec.training.task or 'policy'} ({spec.digest()})",
        action_dim=spec.action.size,
        horizon=spec.action.horizon,
        state_dim=spec.context.size - spec.observation.prompt_size,
        cameras=(),
        capabilities=tuple(sorted(capabilities)),
        model_sha256=spec.weights_sha256,
        normalisation_sha256=_normalisation_hash(
            spec.observation.mean, spec.observation.std, spec.action.mean, spec.action.std
        ),
        action_space=spec.action.space,
        control_rate_hz=spec.action.rate_hz,
    )


def _normalisation_hash(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
