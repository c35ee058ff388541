"""Drivers of simulated episodes that show a reward model what success is not.

A scripted expert with a scripted fault, or a policy with random action noise and context timestep.
They see the truth, as whoever stages failures for a real robot does; the reward model never does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from tmrl_ros.core.types import Float32Array, FloatArray
from tmrl_ros.policies.policy import ChunkPolicy
from tmrl_ros.sim import CellState, GroundTruth
from tmrl_ros.sim.experts import OPEN_M, Phase, ScriptedExpert
from tmrl_ros.sim.tasks import GRIPPER_DOWN_XYZW, LIFT_HEIGHT_M

Command = tuple[FloatArray, FloatArray, float]
"""Target position (3,) in metres, quaternion (4,) x y z w, gripper width in metres."""

WANDER_STEP_M = 0.018
WANDER_MIN_M, WANDER_MAX_M = (0.34, -0.30), (0.68, 0.30)
"""Where it wanders to in x and y: nearly all of the workspace, as policies in fine-tuning do."""
CLEAR_M = 0.11
"""An open gripper at this height touches no object."""
DOWN: FloatArray = np.array(GRIPPER_DOWN_XYZW)


class Driver(Protocol):
    """Chooses the target of every control step (20 Hz)."""

    def act(self, state: CellState, truth: GroundTruth) -> Command:
        """The next target."""


@dataclass
class Success:
    """The expert, who holds on to the object once it is up."""

    expert: ScriptedExpert

    def act(self, state: CellState, truth: GroundTruth) -> Command:
        """See `Driver`."""
        return self.expert.act(state, truth)


@dataclass
class HeldLow:
    """Grasps and lifts, but never above `height_m`, which is below the line of success."""

    expert: ScriptedExpert
    height_m: float

    def act(self, state: CellState, truth: GroundTruth) -> Command:
        """See `Driver`."""
        position, quaternion, width_m = self.expert.act(state, truth)
        if self.expert.phase is Phase.RAISE:
            position[2] = min(float(position[2]), 0.02 + self.height_m)
        return position, quaternion, width_m


@dataclass
class Drop:
    """Lifts the object to `height_m`, lets go, and stays or moves away by `retreat_m`."""

    expert: ScriptedExpert
    name: str
    height_m: float
    retreat_m: FloatArray
    _rest: FloatArray | None = None

    def act(self, state: CellState, truth: GroundTruth) -> Command:
        """See `Driver`."""
        if self._rest is None:
            height_m = float(truth.object_positions[self.name][2]) - 0.02
            if self.name not in truth.held or height_m < self.height_m:
                return self.expert.act(state, truth)
            self._rest = state.ee_position_m + self.retreat_m
        return state.ee_position_m + _towards(self._rest, state.ee_position_m), DOWN, OPEN_M


@dataclass
class Miss:
    """Closes beside the object by `offset_m` and lifts as if it held it."""

    expert: ScriptedExpert
    name: str
    offset_m: FloatArray

    def act(self, state: CellState, truth: GroundTruth) -> Command:
        """See `Driver`."""
        believed = dict(truth.object_positions)
        if self.expert.phase in (Phase.DETOUR, Phase.REACH, Phase.CLOSE):
            believed[self.name] = believed[self.name] + self.offset_m
        return self.expert.act(
            state, replace(truth, object_positions=believed, held=frozenset({self.name}))
        )


@dataclass
class Stall:
    """Any other driver that freezes after `steps` control steps."""

    driver: Driver
    steps: int
    _last: Command | None = None

    def act(self, state: CellState, truth: GroundTruth) -> Command:
        """See `Driver`."""
        if self.steps > 0 or self._last is None:
            self.steps -= 1
            self._last = self.driver.act(state, truth)
        return self._last


@dataclass
class Late:
    """Moves about with an open gripper for `steps` control steps, then does as another driver does.

    Without it whoever holds something late in an episode has nearly always succeeded, and a model
    learns the time instead of the height.
    """

    driver: Driver
    rng: np.random.Generator
    steps: int
    _goal: FloatArray | None = None

    def act(self, state: CellState, truth: GroundTruth) -> Command:
        """See `Driver`."""
        if self.steps <= 0:
            return self.driver.act(state, truth)
        self.steps -= 1
        here = state.ee_position_m
        if self._goal is None or float(np.linalg.norm(self._goal - here)) < 0.02:
            self._goal = self.rng.uniform([*WANDER_MIN_M, CLEAR_M], [*WANDER_MAX_M, 0.30])
        return here + _towards(self._goal, here), DOWN, OPEN_M


@dataclass
class Wander:
    """Any other driver up to its lift, then random ways through the workspace, gripper as it is."""

    driver: Success | Miss
    rng: np.random.Generator
    ceiling_m: float
    _goal: FloatArray | None = None

    def act(self, state: CellState, truth: GroundTruth) -> Command:
        """See `Driver`."""
        target = self.driver.act(state, truth)
        if self._goal is None and self.driver.expert.phase is not Phase.RAISE:
            return target
        here = state.ee_position_m
        if self._goal is None or float(np.linalg.norm(self._goal - here)) < 0.02:
            self._goal = self.rng.uniform([*WANDER_MIN_M, 0.022], [*WANDER_MAX_M, self.ceiling_m])
        return here + _towards(self._goal, here), DOWN, target[2]


@dataclass
class RandomPolicy:
    """The pre-trained policy as exploration drives it: any action noise, any context timestep.

    Args:
        policy: The loaded bundle.
        prompt: What it is told.
        rng: Source of everything random.
        gripper_max_width_m: Width of opening 1.
        box_m: Lowest and highest target position (2, 3), as the safety gate has it.
    """

    policy: ChunkPolicy
    prompt: str
    rng: np.random.Generator
    gripper_max_width_m: float
    box_m: FloatArray

    def __post_init__(self) -> None:
        size = self.policy.spec.context.size
        self._eps = self.rng.standard_normal(size).astype(np.float32)
        self._t = float(self.rng.choice([0.0, 0.5, 1.0, self.rng.uniform()]))
        self._fixed_z = self._draw() if self.rng.uniform() < 0.4 else None
        self._rows: list[FloatArray] = []

    def _draw(self) -> Float32Array:
        """Small, unit, or pushed to the bounds, as an actor's are after a while."""
        scale = self.rng.choice([0.5, 1.0, 3.0])
        z = scale * self.rng.standard_normal(self.policy.z_size)
        drawn: Float32Array = np.clip(z, -1.5, 1.5).astype(np.float32)
        return drawn

    def act(self, state: CellState, truth: GroundTruth) -> Command:
        """See `Driver`."""
        if not self._rows:
            self._rows = self._decide(state, truth)
        row = self._rows.pop(0)
        position = np.clip(row[:3], self.box_m[0], self.box_m[1])
        return position, DOWN, float(row[3]) * self.gripper_max_width_m

    def _decide(self, state: CellState, truth: GroundTruth) -> list[FloatArray]:
        spec = self.policy.spec.context
        objects = np.array([truth.object_positions[name] for name in spec.objects], np.float32)
        opening = np.clip(state.gripper_width_m / self.gripper_max_width_m, 0.0, 1.0)
        own = np.append(state.ee_position_m, opening).astype(np.float32)
        context = spec.context(self.prompt, objects, own)
        z = self._draw() if self._fixed_z is None else self._fixed_z
        chunk = self.policy.sample(
            context[None], z[None], np.array([self._t], np.float32), self._eps[None]
        )[0]
        chunk[:, :3] += state.ee_position_m
        return list(chunk[: self.policy.spec.action.execute_steps])


def _towards(goal: FloatArray, here: FloatArray) -> FloatArray:
    """One control step (3,) on the way to a goal."""
    step = goal - here
    return step * min(1.0, WANDER_STEP_M / max(float(np.linalg.norm(step)), 1e-9))


def too_low(rng: np.random.Generator) -> float:
    """A height that is no success, metres above rest, up to a centimetre below the line."""
    return float(rng.uniform(0.01, LIFT_HEIGHT_M - 0.01))
