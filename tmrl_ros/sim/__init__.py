"""A simulated Franka cell: MuJoCo physics, RGB-D cameras, tasks and scripted experts."""

from tmrl_ros.sim.cameras import CameraModel, Frame
from tmrl_ros.sim.cell import SceneBlockedError, SimulatedCell
from tmrl_ros.sim.experts import ActionNoise, ScriptedExpert, expert
from tmrl_ros.sim.readings import CellState, GroundTruth
from tmrl_ros.sim.tasks import TASKS, TaskScene, task_named

__all__ = [
    "TASKS",
    "ActionNoise",
    "CameraModel",
    "CellState",
    "Frame",
    "GroundTruth",
    "SceneBlockedError",
    "ScriptedExpert",
    "SimulatedCell",
    "TaskScene",
    "expert",
    "task_named",
]
