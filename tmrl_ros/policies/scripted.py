"""The scripted expert as a source of chunks: it plans from what perception sees."""

from __future__ import annotations

import numpy as np

from tmrl_ros.core.config import TaskConfig
from tmrl_ros.core.types import FloatArray
from tmrl_ros.sim import CellState, GroundTruth
from tmrl_ros.sim.experts import ActionNoise, ScriptedExpert, expert
from tmrl_ros.sim.tasks import task_named

GRASP_DISTANCE_M = 0.03
GRIPPER_RATE_M = 0.005  # per control step: 0.1 m/s at 20 Hz


class ScriptedDemonstrator:
    """Rolls the expert forward a few control steps, assuming that the arm follows its targets."""

    def __init__(self, task: TaskConfig, gripper_max_width_m: float) -> None:
        """`task.demonstration` says how noisy and how long the pieces are."""
        self._scene = task_named(task.name, wanted=task.wanted_object)
        self._settings = task.demonstration
        self._width_m = gripper_max_width_m
        self._expert: ScriptedExpert | None = None
        self.execute_steps = task.demonstration.execute_steps

    def begin_episode(self, seed: int) -> None:
        """Start a new demonstration."""
        noise = ActionNoise(
            sigma_m=self._settings.noise_sigma_m,
            memory=self._settings.noise_memory,
            accumulate=True,
            detour_m=self._settings.detour_m,
            miss=self._settings.miss,
        )
        rng = np.random.default_rng(seed)
        self._expert = expert(self._scene, target_object=self._scene.wanted, rng=rng, noise=noise)

    def actions(
        self, ee_position_m: FloatArray, gripper_width_m: float, objects: dict[str, FloatArray]
    ) -> FloatArray:
        """The next targets (execute_steps, 4): relative to the measured position, opening 0..1.

        Raises:
            ValueError: An object of the task is not observed, or no episode was begun.
        """
        missing = [item.name for item in self._scene.objects if item.name not in objects]
        if missing or self._expert is None:
            raise ValueError(
                f"the observation has no object {missing}" if missing else "no episode was begun"
            )
        position, width = ee_position_m.copy(), gripper_width_m
        held = self._held(position, width, objects)
        rows = []
        for _ in range(self.execute_steps):
            target, _, width_target = self._expert.act(
                _state(position, width), _truth(objects, held)
            )
            moved = target - position
            if held:
                objects = {n: p + moved if n in held else p for n, p in objects.items()}
            position = target
            width += float(np.clip(width_target - width, -GRIPPER_RATE_M, GRIPPER_RATE_M))
            rows.append([*(target - ee_position_m), width_target / self._width_m])
        return np.array(rows)

    def _held(
        self, position: FloatArray, width: float, objects: dict[str, FloatArray]
    ) -> frozenset[str]:
        """What the fingers hold, as far as one can see: something of its width between them."""
        names = []
        for item in self._scene.objects:
            near = float(np.linalg.norm(objects[item.name] - position)) < GRASP_DISTANCE_M
            if near and abs(width - 2 * item.half_size_m) < 0.004:
                names.append(item.name)
        return frozenset(names)


def _state(position: FloatArray, width: float) -> CellState:
    zeros = np.zeros(7)
    return CellState(
        stamp_s=0.0,
        q=zeros,
        dq=zeros,
        tau=zeros,
        ee_position_m=position,
        ee_quaternion_xyzw=np.array([1.0, 0.0, 0.0, 0.0]),
        ee_twist=np.zeros(6),
        external_wrench=np.zeros(6),
        gripper_width_m=width,
    )


def _truth(objects: dict[str, FloatArray], held: frozenset[str]) -> GroundTruth:
    return GroundTruth(
        success=False, failure=False, progress=0.0, object_positions=objects, held=held
    )
