"""Two OGBench environments (arXiv 2410.20092), seen as an arm sees its table.

Nobody here designed them. Each is a few named objects, a tool position and a gripper opening, so
that the policy, the critics and the learner of this repository work on them unchanged. OGBench
(`pip install .[benchmarks]`) is imported only when a scene is made.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tmrl_ros.core.types import FloatArray

TASKS = 5  # OGBench's own start and goal pairs of each environment
SETTLED_STEPS = 8


@dataclass(frozen=True)
class Mapping:
    """Where an environment lies in the workspace: metres = `origin_m` + `scale` * its own units."""

    origin_m: tuple[float, float, float]
    scale: float

    def to_m(self, position: FloatArray) -> FloatArray:
        """(..., 3) in the environment's units -> metres in the workspace."""
        return np.asarray(self.origin_m) + self.scale * np.asarray(position, float)

    def from_m(self, position_m: FloatArray) -> FloatArray:
        """The reverse of `to_m`."""
        return (np.asarray(position_m, float) - np.asarray(self.origin_m)) / self.scale


# A cell of the maze is 8 cm wide, so that the giant maze's 52 x 36 units are 1.04 m x 0.72 m.
MAZE = Mapping((-0.02, -0.36, 0.1), 0.02)
TABLE = Mapping((0.0, 0.0, 0.0), 1.0)


class Scene(Protocol):
    """An environment: where things are, and one control period towards a target.

    `names` of the objects; `period_s` of control; `max_steps` of an episode; `success` now.
    """

    names: tuple[str, ...]
    period_s: float
    max_steps: int
    success: bool

    def reset(self, seed: int) -> None:
        """Put everything back; the seed decides which of OGBench's tasks and where exactly."""

    def state(self) -> FloatArray:
        """Tool position in metres and gripper opening in [0, 1], (4,)."""

    def objects(self) -> FloatArray:
        """Positions of the objects (K, 3) in metres."""

    def step(self, target: FloatArray) -> None:
        """One control period towards a tool position and opening (4,)."""


@dataclass
class Track:
    """One demonstration at control rate: L targets, and what was seen before each of them.

    `states` and `targets` (L, 4) as in `Scene`, `objects` (L, K, 3).
    """

    states: list[FloatArray] = field(default_factory=list)
    objects: list[FloatArray] = field(default_factory=list)
    targets: list[FloatArray] = field(default_factory=list)


def maze_action(target_m: FloatArray, tool_m: FloatArray) -> FloatArray:
    """Action (2,) in [-1, 1] of a point that moves by 0.2 units per step, towards a target."""
    away: FloatArray = (np.asarray(target_m) - tool_m)[:2] / MAZE.scale / 0.2
    return np.clip(away, -1.0, 1.0)


def cube_action(target: FloatArray, state: FloatArray, turned_rad: float) -> FloatArray:
    """OGBench's relative action (5,) in [-1, 1].

    Args:
        target: Tool position and opening asked for (4,).
        state: Those measured (4,).
        turned_rad: How far the tool has turned since the start; it is turned back.
    """
    back = (-turned_rad + math.pi) % (2 * math.pi) - math.pi
    closing = state[3] - target[3]  # OGBench counts how far the gripper is closed
    return np.clip([*((target[:3] - state[:3]) / 0.05), back / 0.3, closing], -1.0, 1.0)


class PointMaze:
    """OGBench's pointmaze: a point among walls, and the goal it should reach."""

    names = ("goal",)
    period_s = 0.1
    max_steps = 1000

    def __init__(self, size: str = "giant") -> None:
        """`size` is one of OGBench's, such as "large" or "giant"."""
        self._env = _make(f"pointmaze-{size}-v0")
        self.success = False

    def reset(self, seed: int) -> None:
        """Start one of OGBench's five tasks, with its noise on start and goal."""
        self._place(seed, {"task_id": 1 + seed % TASKS})

    def _place(self, seed: int, options: dict[str, Any]) -> None:
        np.random.seed(seed % 2**32)  # the environment's noise is numpy's global one
        self._env.reset(options=options, seed=seed % 2**32)
        self.success = False

    def state(self) -> FloatArray:
        """The point, on a plane 10 cm above the table; the opening is 0."""
        return np.append(MAZE.to_m(np.append(self._env.get_xy(), 0.0)), 0.0)

    def objects(self) -> FloatArray:
        """The goal (1, 3)."""
        return MAZE.to_m(np.append(self._env.cur_goal_xy, 0.0))[None]

    def step(self, target: FloatArray) -> None:
        """Move towards a target; what it has of height and opening means nothing here."""
        info = self._env.step(maze_action(target[:3], self.state()[:3]))[4]
        self.success = bool(info["success"])

    def demonstrate(self, seed: int, noise: float = 0.5) -> Track | None:
        """OGBench's "navigate" data: along its breadth-first plan to a goal, actions noised.

        Start in any free cell, goal in one that is not part of a straight corridor. Targets are
        where the noised actions lead.
        """
        rng = np.random.default_rng(seed)
        free = np.argwhere(self._env.maze_map == 0)
        ends = [cell for cell in free if not self._corridor(*cell)]
        start, goal = rng.choice(free), rng.choice(ends)
        self._place(seed, {"task_info": {"init_ij": tuple(start), "goal_ij": tuple(goal)}})
        track = Track()
        for _ in range(self.max_steps):
            here = self._env.get_xy()
            way = self._env.get_oracle_subgoal(here, self._env.cur_goal_xy)[0] - here
            action = way / (np.linalg.norm(way) + 1e-6) + rng.normal(0.0, noise, 2)
            state = self.state()
            target = state.copy()
            target[:2] += MAZE.scale * 0.2 * np.clip(action, -1.0, 1.0)
            _note(track, self, state, target)
            self.step(target)
            if self.success:
                return track
        return None

    def _corridor(self, i: int, j: int) -> bool:
        walls = self._env.maze_map
        up, down, left, right = walls[i - 1, j], walls[i + 1, j], walls[i, j - 1], walls[i, j + 1]
        along = (not up and not down and left and right) or (not left and not right and up and down)
        return bool(along)


class CubeSingle:
    """OGBench's cube-single: a UR5e that brings a cube to a place. The tool's yaw is kept."""

    names = ("cube", "goal")
    period_s = 0.05
    max_steps = 200

    def __init__(self) -> None:
        self._env = _make("cube-single-v0", visualize_info=False)
        self._collector: Any = None
        self.success = False

    def reset(self, seed: int) -> None:
        """Start one of OGBench's five tasks, with its noise on cube and arm."""
        np.random.seed(seed % 2**32)
        options = {"task_id": 1 + seed % TASKS}
        self._begin(self._env.reset(options=options, seed=seed % 2**32)[1])
        self._goal = np.asarray(self._env.cur_task_info["goal_xyzs"][0], float)

    def _begin(self, info: dict[str, Any]) -> None:
        self._info, self._yaw, self.success = info, float(info["proprio/effector_yaw"][0]), False

    def state(self) -> FloatArray:
        """The point between the fingers, and 1 when they are open."""
        closed = float(self._info["proprio/gripper_opening"][0])
        return np.append(self._info["proprio/effector_pos"], 1.0 - closed)

    def objects(self) -> FloatArray:
        """The cube and where it should be (2, 3)."""
        return np.stack([self._info["privileged/block_0_pos"], self._goal])

    def step(self, target: FloatArray) -> None:
        """Move towards a target."""
        self._step(self._env, target)

    def _step(self, env: Any, target: FloatArray) -> None:
        turned = float(self._info["proprio/effector_yaw"][0]) - self._yaw
        self._info = env.step(cube_action(target, self.state(), turned))[4]
        self.success = bool(self._info["success"])

    def demonstrate(self, seed: int, reach_m: float = 0.40) -> Track | None:
        """OGBench's "play" data: its noisy plan; cube and goal nearer than `reach_m` in x."""
        from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle

        if self._collector is None:
            self._collector = _make(
                "cube-single-v0", visualize_info=False, terminate_at_goal=False,
                mode="data_collection",
            )  # fmt: skip
        env = self._collector
        for name in ("_object_sampling_bounds", "_target_sampling_bounds"):
            setattr(env, name, np.array([[0.3, -0.3], [reach_m, 0.3]]))
        np.random.seed(seed % 2**32)
        seen, info = env.reset(seed=seed % 2**32)
        self._begin(info)
        self._goal = np.array(info["privileged/target_block_pos"])
        oracle = CubePlanOracle(env=env, noise=0.1, noise_smoothing=0.5)
        oracle.reset(seen, info)
        track, settled = Track(), 0
        while not oracle.done and settled < SETTLED_STEPS:
            action = np.clip(oracle.select_action(seen, self._info), -1.0, 1.0)
            state = self.state()
            target = np.append(state[:3] + 0.05 * action[:3], np.clip(state[3] - action[4], 0, 1))
            _note(track, self, state, target)
            self._step(env, target)
            settled += self.success
        return track if self.success else None


SCENES: dict[str, type[PointMaze] | type[CubeSingle]] = {
    "pointmaze-giant": PointMaze,
    "cube-single": CubeSingle,
}


def _note(track: Track, scene: Scene, state: FloatArray, target: FloatArray) -> None:
    track.states.append(state)
    track.objects.append(scene.objects())
    track.targets.append(target)


def _make(name: str, **settings: Any) -> Any:
    """An OGBench environment without gymnasium's wrappers: nobody but us counts its steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about precision of bounds, and no display
        import gymnasium
        import ogbench.locomaze
        import ogbench.manipspace  # noqa: F401  (both register environments)

        return gymnasium.make(name, **settings).unwrapped
