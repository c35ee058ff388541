"""The manipulation tasks of the simulated cell: objects, regions, prompts, success.

All positions are metres in the base frame (panda_link0); the table surface is z = 0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RegionName = Literal["start", "demo", "outside"]

HALF_SIZE_M = 0.02
LIFT_HEIGHT_M = 0.08
"""How far above its rest height an object counts as lifted."""
GRIPPER_DOWN_XYZW = (1.0, 0.0, 0.0, 0.0)
COLORS: Mapping[str, tuple[float, float, float]] = {
    "red": (0.90, 0.05, 0.05),
    "green": (0.05, 0.75, 0.10),
    "blue": (0.05, 0.15, 0.90),
}


@dataclass(frozen=True, kw_only=True)
class Region:
    """A rectangle on the table, metres in the base frame."""

    x: tuple[float, float]
    y: tuple[float, float]

    def sample(self, rng: np.random.Generator) -> tuple[float, float]:
        """Draw a point uniformly."""
        return float(rng.uniform(*self.x)), float(rng.uniform(*self.y))

    def contains(self, x: float, y: float) -> bool:
        """Whether the point lies in the rectangle, edges included."""
        return self.x[0] <= x <= self.x[1] and self.y[0] <= y <= self.y[1]


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """One cube on the table and where it may start.

    Attributes:
        name: Key of the object in ground truth.
        color: RGB in [0, 1].
        start_region: Where training and evaluation place it.
        demo_region: Where demonstrations place it; inside `start_region`.
        half_size_m: Half of the edge length.
        yaw_range_rad: Largest rotation about z, either way.
    """

    name: str
    color: tuple[float, float, float]
    start_region: Region
    demo_region: Region
    half_size_m: float = HALF_SIZE_M
    yaw_range_rad: float = 0.0

    def place(self, region: RegionName, rng: np.random.Generator) -> tuple[float, float]:
        """Draw where it goes: x and y of its centre.

        Args:
            region: "start", "demo", or "outside": where demonstrations never had it.
            rng: What to draw with.

        Raises:
            ValueError: Unknown region, or demonstrations had the object everywhere.
        """
        if region not in get_args(RegionName):
            known = ", ".join(get_args(RegionName))
            raise ValueError(f"Unknown region '{region}'; choose one of: {known}.")
        if region == "demo":
            return self.demo_region.sample(rng)
        if region == "outside" and self.demo_region == self.start_region:
            raise ValueError(f"Demonstrations have '{self.name}' everywhere: there is no outside.")
        while True:
            x, y = self.start_region.sample(rng)
            if region == "start" or not self.demo_region.contains(x, y):
                return x, y


@dataclass(frozen=True, kw_only=True)
class SceneView:
    """What a task may look at to judge the scene; base frame.

    Attributes:
        positions: Object centres, (3,) each.
        speeds: Object speeds in m/s.
        held: Objects touched by both finger pads.
        touched: Objects touched by any finger pad.
        ee_position_m: Tool centre point, (3,).
    """

    positions: Mapping[str, Array]
    speeds: Mapping[str, float]
    held: frozenset[str]
    touched: frozenset[str]
    ee_position_m: Array


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A task's judgement of one moment; progress in [0, 1], 1 exactly on success."""

    success: bool
    failure: bool
    progress: float


@dataclass(frozen=True, kw_only=True)
class TaskScene:
    """One task: what stands on the table and when the task is done.

    Attributes:
        name: Registry name.
        objects: Objects, in the order in which they are placed.
        wanted: The object to act on.
        prompts: Instruction for each object that could be wanted.
        judge: Success rule, called with this task and the scene.
        onto: The object to stack on; None where nothing is stacked.
        home_position_m: Tool centre point at the start of an episode.
        home_quaternion_xyzw: Its orientation.
        max_steps: Control steps (20 Hz) after which an episode is cut off.
    """

    name: str
    objects: tuple[SceneObject, ...]
    wanted: str
    prompts: Mapping[str, str]
    judge: Callable[["TaskScene", SceneView], Verdict] = field(repr=False)
    onto: str | None = None
    home_position_m: tuple[float, float, float] = (0.45, 0.0, 0.20)
    home_quaternion_xyzw: tuple[float, float, float, float] = GRIPPER_DOWN_XYZW
    max_steps: int = 100

    def __post_init__(self) -> None:
        names = [scene_object.name for scene_object in self.objects]
        if self.wanted not in names:
            raise ValueError(
                f"Task '{self.name}' wants the object '{self.wanted}', which is not in its scene; "
                f"choose one of: {', '.join(names)}."
            )

    @property
    def prompt(self) -> str:
        """The instruction for the wanted object."""
        return self.prompts[self.wanted]

    def object_named(self, name: str) -> SceneObject:
        """Look an object up by name."""
        return next(item for item in self.objects if item.name == name)

    def evaluate(self, view: SceneView) -> Verdict:
        """Judge the scene now."""
        verdict = self.judge(self, view)
        fallen = any(position[2] < -0.01 for position in view.positions.values())
        return replace(verdict, success=False, failure=True) if fallen else verdict


def _reach_and_lift(task: TaskScene, view: SceneView, name: str) -> float:
    """Progress of bringing one object up: 0.5 for reaching it, the rest for height while held."""
    position = view.positions[name]
    if name in view.held:
        raised = float(position[2]) - task.object_named(name).half_size_m
        return 0.5 + 0.5 * float(np.clip(raised / LIFT_HEIGHT_M, 0.0, 1.0))
    distance_m = float(np.linalg.norm(view.ee_position_m - position))
    return 0.45 * float(np.clip(1.0 - distance_m / 0.30, 0.0, 1.0))


def _is_lifted(task: TaskScene, view: SceneView, name: str) -> bool:
    raised = view.positions[name][2] - task.object_named(name).half_size_m
    return bool(name in view.held and raised >= LIFT_HEIGHT_M)


def judge_lift(task: TaskScene, view: SceneView) -> Verdict:
    """Success: the wanted object is held high; failure: another one is."""
    success = _is_lifted(task, view, task.wanted)
    others = (item.name for item in task.objects if item.name != task.wanted)
    failure = any(_is_lifted(task, view, name) for name in others)
    progress = _reach_and_lift(task, view, task.wanted)
    return Verdict(
        success=success, failure=failure, progress=1.0 if success else min(progress, 0.99)
    )


def judge_stack(task: TaskScene, view: SceneView) -> Verdict:
    """Success: the wanted object rests on `onto` and the gripper has let go."""
    assert task.onto is not None
    edge_m = task.object_named(task.wanted).half_size_m + task.object_named(task.onto).half_size_m
    offset = view.positions[task.wanted] - view.positions[task.onto]
    sideways_m = float(np.hypot(offset[0], offset[1]))
    # By geometry, not by contact: contacts between sleeping objects are not reported.
    resting = abs(float(offset[2]) - edge_m) < 0.003 and sideways_m < 0.9 * HALF_SIZE_M
    success = resting and task.wanted not in view.touched and view.speeds[task.wanted] < 0.02
    if success:
        return Verdict(success=True, failure=False, progress=1.0)
    progress = 0.5 * _reach_and_lift(task, view, task.wanted)
    if task.wanted in view.held or resting:
        near = float(np.clip(1.0 - np.linalg.norm(offset - [0.0, 0.0, edge_m]) / 0.30, 0.0, 1.0))
        progress = max(progress, 0.9 if resting else 0.35 + 0.5 * near)
    return Verdict(success=False, failure=False, progress=min(progress, 0.99))


def _object(name: str, start: Region, demo: Region) -> SceneObject:
    return SceneObject(name=name, color=COLORS[name], start_region=start, demo_region=demo)


def _zone(name: str, y: float) -> SceneObject:
    zone = Region(x=(0.47, 0.53), y=(y - 0.03, y + 0.03))
    return _object(name, zone, zone)


_LIFT = TaskScene(
    name="lift",
    objects=(
        _object(
            "red",
            Region(x=(0.40, 0.60), y=(-0.20, 0.20)),
            Region(x=(0.44, 0.52), y=(-0.08, 0.02)),
        ),
    ),
    wanted="red",
    prompts={"red": "lift the red cube"},
    judge=judge_lift,
)
_PICK_NAMED = TaskScene(
    name="pick_named",
    objects=(_zone("red", -0.15), _zone("green", 0.0), _zone("blue", 0.15)),
    wanted="blue",
    prompts={name: f"pick up the {name} cube" for name in ("red", "green", "blue")},
    judge=judge_lift,
)
_STACK = TaskScene(
    name="stack",
    objects=(
        _object(
            "red",
            Region(x=(0.42, 0.58), y=(-0.18, -0.06)),
            Region(x=(0.46, 0.52), y=(-0.12, -0.08)),
        ),
        _object(
            "green",
            Region(x=(0.42, 0.58), y=(0.06, 0.18)),
            Region(x=(0.46, 0.52), y=(0.08, 0.12)),
        ),
    ),
    wanted="red",
    onto="green",
    prompts={"red": "stack the red cube on the green cube"},
    judge=judge_stack,
)
TASKS: Mapping[str, TaskScene] = {task.name: task for task in (_LIFT, _PICK_NAMED, _STACK)}


def task_named(name: str, *, wanted: str | None = None) -> TaskScene:
    """Look up a task, optionally with another wanted object.

    Args:
        name: One of `TASKS`.
        wanted: Object to act on instead of the task's default.

    Raises:
        ValueError: Unknown task, or a wanted object that its scene lacks.
    """
    if name not in TASKS:
        raise ValueError(f"Unknown task '{name}'; the known tasks are: {', '.join(sorted(TASKS))}.")
    task = TASKS[name]
    return task if wanted is None else replace(task, wanted=wanted)
