"""Scripted experts: they see the truth and produce the targets of a demonstration."""

from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.sim.cell import SimulatedCell
from tmrl_ros.sim.readings import CellState, GroundTruth
from tmrl_ros.sim.tasks import GRIPPER_DOWN_XYZW, TaskScene, task_named

Array = NDArray[np.float64]

OPEN_M, CLOSED_M = 0.08, 0.0
MAX_STEP_M = 0.022
"""Largest move of the clean target per control step: 0.44 m/s at 20 Hz."""
STEP_CHANGE_M = 0.006
"""Largest change of that move from one step to the next (2.4 m/s^2)."""
NOISY_STEP_M = 0.0248
"""Largest move of the target with noise on it: below 0.5 m/s."""
HOVER_M, CARRY_M = 0.09, 0.13
LOWEST_M = 0.014
MISS_M = np.array([0.10, 0.20])
"""How far beside the object a missed grasp is aimed at most, in x and y."""
CLEAR_M = np.array([0.045, 0.09])
"""Aimed at least this far beside it, in x or in y, no finger comes down on the object."""


@dataclass(frozen=True, kw_only=True)
class ActionNoise:
    """A slowly wandering error on the target (Ornstein-Uhlenbeck), to give data support.

    Attributes:
        sigma_m: Its standard deviation per axis.
        memory: Correlation from one control step to the next, in [0, 1).
        detour_m: How far to the side the first waypoint lies at most (half as far in x), before
            the object is reached for: demonstrations then cover places the object is never at.
        accumulate: Whether the target wanders off with the error, as a person's hand does, rather
            than returning to the clean path by itself; `sigma_m` is then an error per step.
        until_close: Whether it vanishes near the grasp, so that demonstrations still succeed.
        miss: Probability that the first grasp is aimed beside the object. It closes on nothing and
            is tried again, so that demonstrations show what to do after a miss.
    """

    sigma_m: float = 0.008
    memory: float = 0.8
    until_close: bool = True
    accumulate: bool = False
    detour_m: float = 0.0
    miss: float = 0.0


class Phase(Enum):
    """What the expert is doing."""

    DETOUR = auto()
    REACH = auto()
    CLOSE = auto()
    RAISE = auto()
    CARRY = auto()
    LOWER = auto()
    RELEASE = auto()
    RETREAT = auto()


class ScriptedExpert:
    """Picks up one object and, if the task says so, sets it down on another."""

    def __init__(
        self,
        task: TaskScene,
        *,
        target_object: str | None,
        rng: np.random.Generator,
        noise: ActionNoise | None,
    ) -> None:
        self._task = task
        self._object = task.object_named(target_object or task.wanted)
        self._rng = rng
        self._noise = noise
        self.phase = Phase.REACH
        self._waypoint = np.array(task.home_position_m)
        if noise is not None and noise.detour_m > 0:
            self.phase = Phase.DETOUR
            reach = noise.detour_m * np.array([0.5, 1.0, 0.5])
            self._waypoint = self._waypoint + rng.uniform(-reach, [*reach[:2], 0.0])
        self._aim_error = np.zeros(3)
        # Drawn only where misses are wanted: elsewhere a recorded seed makes what it always made.
        if noise is not None and noise.miss > 0 and rng.random() < noise.miss:
            self._aim_error = _beside(rng)
        self._phase_steps = 0
        self._grasp_xy = np.zeros(2)
        self._command: Array | None = None
        self._velocity = np.zeros(3)
        self._wander = np.zeros(3)
        self._last_output: Array | None = None

    def act(self, state: CellState, truth: GroundTruth) -> tuple[Array, Array, float]:
        """Choose the target of the next control step.

        Args:
            state: The robot now.
            truth: The scene now.

        Returns:
            Target position (3,), quaternion (x, y, z, w) and gripper width in metres.
        """
        if self._command is None or self._last_output is None:
            self._command = state.ee_position_m.copy()
            self._last_output = state.ee_position_m.copy()
        before = self.phase
        goal, width_m = self._goal(state, truth)
        if self.phase is not before:
            self._phase_steps = 0
            goal, width_m = self._goal(state, truth)
        self._phase_steps += 1
        command = self._move_towards(self._command, goal)
        output = self._with_noise(command, goal)
        move = output - self._last_output
        move *= min(1.0, NOISY_STEP_M / max(float(np.linalg.norm(move)), 1e-9))
        self._command, self._last_output = command, self._last_output + move
        if self._noise is not None and self._noise.accumulate:
            self._command = self._last_output.copy()
        # Noise must not push the fingers into the table.
        self._last_output[2] = max(float(self._last_output[2]), LOWEST_M)
        return self._last_output.copy(), np.array(GRIPPER_DOWN_XYZW), width_m

    def _goal(self, state: CellState, truth: GroundTruth) -> tuple[Array, float]:
        """Where to go in this phase; changes the phase when its work is done."""
        position = truth.object_positions[self._object.name]
        ee = state.ee_position_m
        lost = self._object.name not in truth.held
        if self.phase is Phase.DETOUR:
            if float(np.linalg.norm(self._waypoint - ee)) < 0.04 or self._phase_steps > 20:
                self.phase = Phase.REACH
            return self._waypoint, OPEN_M
        if self.phase is Phase.REACH:
            position = position + self._aim_error
            sideways_m = float(np.hypot(*(position[:2] - ee[:2])))
            # Come down along a funnel: high while far to the side, on the object when above it.
            height_m = float(np.clip(2.5 * (sideways_m - 0.008), 0.0, HOVER_M))
            if float(np.linalg.norm(position - ee)) < 0.007:
                self.phase = Phase.CLOSE
            return position + [0.0, 0.0, height_m], OPEN_M
        if self.phase is Phase.CLOSE:
            if not lost and state.gripper_width_m < 2.2 * self._object.half_size_m:
                self.phase = Phase.RAISE
                self._grasp_xy = ee[:2].copy()
            elif self._phase_steps > 14:
                self._aim_error = np.zeros(3)
                self.phase = Phase.REACH
            assert self._command is not None
            return self._command, CLOSED_M
        if self.phase in (Phase.RAISE, Phase.CARRY, Phase.LOWER) and lost:
            self.phase = Phase.REACH
            return ee, OPEN_M
        return self._after_grasp(ee, position, truth)

    def _after_grasp(self, ee: Array, position: Array, truth: GroundTruth) -> tuple[Array, float]:
        onto = self._task.onto
        if onto is None:
            return np.array([*self._grasp_xy, CARRY_M + 0.01]), CLOSED_M
        base = truth.object_positions[onto]
        rest = base + [
            0.0,
            0.0,
            self._object.half_size_m + self._task.object_named(onto).half_size_m,
        ]
        offset = ee - position
        if self.phase is Phase.RAISE:
            if position[2] > rest[2] + 0.015:
                self.phase = Phase.CARRY
            return np.array([*self._grasp_xy, CARRY_M]), CLOSED_M
        if self.phase is Phase.CARRY:
            if float(np.hypot(*(position[:2] - rest[:2]))) < 0.005:
                self.phase = Phase.LOWER
            return rest + offset + [0.0, 0.0, 0.035], CLOSED_M
        if self.phase is Phase.LOWER:
            if position[2] - rest[2] < 0.002 or self._phase_steps > 20:
                self.phase = Phase.RELEASE
            return rest + offset + [0.0, 0.0, -0.001], CLOSED_M
        if self.phase is Phase.RELEASE:
            if self._phase_steps > 6:
                self.phase = Phase.RETREAT
            assert self._command is not None
            return self._command, OPEN_M
        return rest + [0.0, 0.0, 0.12], OPEN_M

    def _move_towards(self, command: Array, goal: Array) -> Array:
        """Advance the target with bounded speed and change of speed, slowing into the goal."""
        error = goal - command
        distance_m = float(np.linalg.norm(error))
        # v^2 = 2 a d, per step, is the fastest speed from which stopping at the goal is possible.
        speed_m = min(
            MAX_STEP_M, 0.9 * float(np.sqrt(2.0 * STEP_CHANGE_M * distance_m)), distance_m
        )
        wanted = error * (speed_m / max(distance_m, 1e-9))
        change = wanted - self._velocity
        change *= min(1.0, STEP_CHANGE_M / max(float(np.linalg.norm(change)), 1e-9))
        self._velocity = self._velocity + change
        return command + self._velocity

    def _with_noise(self, command: Array, goal: Array) -> Array:
        if self._noise is None:
            return command
        noise = self._noise
        self._wander = noise.memory * self._wander + np.sqrt(
            1.0 - noise.memory**2
        ) * self._rng.normal(0.0, noise.sigma_m, 3)
        scale = 1.0
        if noise.until_close:
            near = self.phase not in (Phase.REACH, Phase.DETOUR)
            distance_m = float(np.linalg.norm(goal - command))
            scale = 0.15 if near else float(np.clip(distance_m / 0.05, 0.15, 1.0))
        return command + scale * self._wander


def _beside(rng: np.random.Generator) -> Array:
    """An aim error (3,) that takes the gripper past the object."""
    while True:
        error = rng.uniform(-MISS_M, MISS_M)
        if (np.abs(error) > CLEAR_M).any():
            return np.array([*error, 0.0])


def expert(
    task: str | TaskScene,
    cell: SimulatedCell | None = None,
    *,
    target_object: str | None = None,
    rng: np.random.Generator | None = None,
    noise: ActionNoise | None = None,
) -> ScriptedExpert:
    """Make an expert for one episode.

    Args:
        task: A task's name, or a task scene; the cell's own scene wins if a cell is given.
        cell: The cell it will act in.
        target_object: Object to act on; the task's wanted object if None.
        rng: Source of the noise.
        noise: Error put on the targets; None for a clean demonstration.

    Raises:
        ValueError: Unknown task or object.
    """
    scene = task_named(task) if isinstance(task, str) else task
    scene = scene if cell is None else cell.task
    names = [item.name for item in scene.objects]
    if target_object is not None and target_object not in names:
        raise ValueError(
            f"Task '{scene.name}' has no object '{target_object}'; it has: {', '.join(names)}."
        )
    return ScriptedExpert(
        scene, target_object=target_object, rng=rng or np.random.default_rng(0), noise=noise
    )
