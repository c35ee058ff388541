"""A policy that a server computes: the same to actors and critics as one of this process.

Actor and critics see what perception finds, as with a bundle of named objects; what the served
policy sees (its state, images, prompt) goes to the server with every request.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np

from tmrl_ros.core.config import Config
from tmrl_ros.core.methods import Capability
from tmrl_ros.core.policy_config import StateKind
from tmrl_ros.core.types import Float32Array, FloatArray, Pose, RobotMode, RobotSample
from tmrl_ros.data.decode import RecordedObservation
from tmrl_ros.policies.bundle import PolicySpec
from tmrl_ros.policies.context import STATE_SIZE, actor_features
from tmrl_ros.policies.remote_spec import COLUMNS, STATES, cameras_of
from tmrl_ros.serving.client import RefusedError, UnansweredError, VlaClient
from tmrl_ros.serving.protocol import LOW_RANK, SEED_LIMIT
from tmrl_ros.vla.interface import VlaRequest, VlaSpec, expand_noise

FRESH_S = 0.1  # that an observation may have waited for a connection, on a clock that runs on


class RemotePolicy:
    """Asks a server for the chunks of one observation at a time.

    `raw_context` takes the observation, `sample` asks about it: contexts of a call are of that one.
    """

    def __init__(self, client: VlaClient, spec: PolicySpec, config: Config) -> None:
        """Take a client that is connected, and what `remote_spec` makes of its offer."""
        self.spec, self._client, self._config = spec, client, config.policy
        self._offer = client.offer
        self._cameras = cameras_of(config, self._offer)
        self._observation = _blank(config)
        self._opening_m = config.robot.gripper_max_width_m
        self._waits = config.robot.lockstep

    @property
    def z_size(self) -> int:
        """Length of the action noise z."""
        return self.spec.action.size

    @property
    def needs_pictures(self) -> bool:
        """Whether observations must come with their images."""
        return bool(self._cameras)

    def prepare(self) -> None:
        """Be connected when the episode begins; the arm is on its way home meanwhile.

        Raises:
            OperatorError: The server is not there, or is another one than before.
        """
        self._client.connect(self._config.reconnect_s)

    def raw_context(self, observation: RecordedObservation) -> Float32Array:
        """Raw context (C,) of an observation, which the next chunks are asked for.

        Raises:
            ValueError: The observation lacks an object or a camera, or a number is not finite.
        """
        spec = self.spec.context
        objects = spec.select_objects(observation.object_names, observation.object_positions)
        context = spec.context(observation.prompt, objects, observation.state)
        if not np.isfinite(context).all():
            raise ValueError("it has a number that is not finite")
        if missing := [name for name in self._cameras.values() if name not in observation.images]:
            raise ValueError(f"it has no image of camera {missing[0]!r}")
        self._observation = observation
        return context

    def features(self, context: Float32Array) -> Float32Array:
        """What actor and critics see of one raw context (C,)."""
        return actor_features(context, self.spec.context)

    def sample(
        self,
        contexts: Float32Array,
        z: Float32Array,
        t_context: Float32Array,
        eps_context: Float32Array,
        committed: FloatArray | None = None,
    ) -> FloatArray:
        """Chunks (B, H, 4), as `ChunkPolicy.sample`; `committed` (R, 4) is what they begin with.

        The server draws the context's noise from a seed, which is a hash of `eps_context`: the same
        vector means the same noise, but nothing else about it counts.

        Raises:
            UnansweredError: The server did not answer in time.
            RefusedError: The server will not answer.
        """
        self._connect()
        if self._offer is None:
            found = self._client.infer_plain(self._openpi(contexts[0])).answer.actions
            return self._metres(found, self._config.openpi.action_space)
        spec, n = self._offer.spec, len(z)
        has, seeds = spec.capabilities, seeds_of(t_context, eps_context)
        noisy = Capability.CONTEXT_TIMESTEP in has and bool(t_context.any())
        seeded = noisy and Capability.CONTEXT_SEED in has
        several = seeded and len(set(seeds)) > 1
        request = VlaRequest(
            images={
                theirs: self._observation.images[ours] for theirs, ours in self._cameras.items()
            },
            state=self._state(contexts[0], spec.state_dim),
            prompt=self._observation.prompt,
            noise=self._noise(z, spec) if Capability.ACTION_NOISE in has else None,
            t_context=t_context if noisy else None,
            context_seed=seeds[0] if seeded and not several else None,
            committed=self._committed(committed, spec),
            samples=n,
        )
        answer = self._client.infer(request, seeds if several else None).answer
        return self._metres(answer.actions, spec.action_space)

    def _connect(self) -> None:
        """Be connected; where robot time has gone on meanwhile, the next observation is due."""
        started = time.monotonic()
        self._client.connect(self._config.reconnect_s)
        waited_s = time.monotonic() - started
        if waited_s > FRESH_S and not self._waits:
            raise UnansweredError(
                f"{self._client.url} is there again after {waited_s:.1f} s; what was seen before "
                "is too old to act on."
            )

    def close(self) -> None:
        """Drop the connection."""
        self._client.close()

    def _noise(self, z: Float32Array, spec: VlaSpec) -> Float32Array:
        """One vector for all rows travels as one row where the server can unfold it."""
        rows = z[:, None] if z.ndim == 2 else z
        return rows if LOW_RANK in spec.capabilities else expand_noise(rows, spec.horizon)

    def _committed(self, rows: FloatArray | None, spec: VlaSpec) -> Float32Array | None:
        """Rows relative to the measured pose in the server's action space."""
        if rows is None or not len(rows):
            return None
        found = rows.astype(np.float32)
        if spec.action_space == "cartesian_delta":
            found[1:, :3] -= rows[:-1, :3].astype(np.float32)
        return found

    def _state(self, context: Float32Array, size: int) -> Float32Array:
        assert self._offer is not None
        if self._offer.bundle is not None:
            return context[self.spec.observation.prompt_size :]
        return self._robot_state(STATES[size])

    def _robot_state(self, kind: StateKind) -> Float32Array:
        seen = self._observation
        if kind == "tool":
            return seen.state
        opening = seen.robot.gripper_width_m / self._opening_m
        extra = [opening] if kind == "joints_and_opening" else []
        return np.array([*seen.robot.q[:7], *extra], np.float32)

    def _openpi(self, context: Float32Array) -> dict[str, Any]:
        """One flat observation with the keys that the configuration names."""
        keys, seen = self._config.openpi, self._observation
        fields: dict[str, Any] = {
            keys.images[ours]: seen.images[ours] for ours in self._cameras.values()
        }
        return {
            **fields,
            keys.state_key: self._robot_state(keys.state),
            keys.prompt_key: seen.prompt,
        }

    def _metres(self, actions: Float32Array, space: str) -> FloatArray:
        """Rows relative to the measured pose, whatever the server's are relative to."""
        due = (self.spec.action.horizon, COLUMNS)
        if actions.shape[1:] != due:
            raise RefusedError(
                f"{self._client.url} answers chunks of {actions.shape[1:]}, the arm takes {due} "
                "(rows of x, y, z and opening): set policy.openpi.horizon, or serve another policy."
            )
        chunk = actions.astype(np.float64)
        if space == "cartesian_delta":
            chunk[..., :3] = np.cumsum(chunk[..., :3], axis=1)
        chunk[..., 3] = np.clip(chunk[..., 3], 0.0, 1.0)
        return chunk


def seeds_of(t_context: Float32Array, eps_context: Float32Array) -> list[int]:
    """A seed for every sample: of its context noise (B, C), or the first where t is 0."""
    first = _seed(eps_context[0])
    return [_seed(eps) if t > 0 else first for t, eps in zip(t_context, eps_context, strict=True)]


def _seed(eps: Float32Array) -> int:
    digest = hashlib.blake2b(np.ascontiguousarray(eps, np.float32).tobytes(), digest_size=8)
    return int.from_bytes(digest.digest(), "little") % SEED_LIMIT


def _blank(config: Config) -> RecordedObservation:
    """An observation of nothing, for the first request, which only warms up."""
    cameras, objects = config.cameras, config.task.objects
    picture = np.zeros((cameras.image_height, cameras.image_width, 3), np.uint8)
    origin = Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))
    nothing = np.zeros(6)
    return RecordedObservation(
        stamp_ns=0,
        sequence=0,
        episode_id="",
        decision=0,
        robot=RobotSample(
            0,
            0,
            np.zeros(7),
            np.zeros(7),
            np.zeros(7),
            origin,
            nothing,
            nothing,
            0.0,
            RobotMode.MOVE,
        ),
        prompt=config.task.prompt,
        state=np.zeros(STATE_SIZE, np.float32),
        object_names=tuple(item.name for item in objects),
        object_positions=np.zeros((len(objects), 3), np.float32),
        object_visible=np.zeros(len(objects), np.bool_),
        object_age_s=np.zeros(len(objects)),
        images={camera.name: picture for camera in cameras.cameras},
    )
