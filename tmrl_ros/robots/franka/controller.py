"""What crisp's Cartesian controller may do with our targets: its parameters against the limits.

The controller is an impedance controller: it presses with stiffness x error, and clips the error
first. Stiffness x error clip is therefore the largest force that any target can cause, and the one
bound that holds between two control periods. It has no time-out, looks at no frame and obeys no one
while its topic has two publishers; what follows from that is checked here too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tmrl_ros.core.config import Config
from tmrl_ros.robots.franka.model import joint_names

AXES = ("x", "y", "z")
REQUIRED = (
    "joints",
    "base_frame",
    "end_effector_frame",
    "limit_error",
    "limit_torques",
    "stop_commands",
    *(f"task.k_pos_{axis}" for axis in AXES),
    *(f"task.error_clip.{axis}" for axis in AXES),
)
OPTIONAL = ("use_operational_space", "variable_stiffness.enabled")
"""Of newer versions; one that lacks them does not have what they switch on."""


def force_ceiling_n(parameters: Mapping[str, Any]) -> float:
    """Largest force (N) that a target can cause: the length of stiffness x error clip."""
    per_axis = (
        float(parameters[f"task.k_pos_{axis}"]) * float(parameters[f"task.error_clip.{axis}"])
        for axis in AXES
    )
    return math.hypot(*per_axis)


def controller_fault(parameters: Mapping[str, Any], config: Config, node: str) -> str:
    """Why the controller may not be used as it is set, as a sentence; "" when it may.

    Args:
        parameters: Values by name, `REQUIRED` and what there is of `OPTIONAL`.
        config: The session's configuration.
        node: The controller's node, for the command that puts it right.
    """
    robot = config.robot
    if missing := [name for name in REQUIRED if name not in parameters]:
        return f"{node} has no parameter {missing[0]}: it is no Cartesian controller of crisp."
    if list(parameters["joints"]) != list(joint_names(robot.model)):
        return (
            f"{node} drives the joints {list(parameters['joints'])}, robot.model={robot.model} has "
            f"{list(joint_names(robot.model))}."
        )
    frames = (robot.base_frame, *robot.franka.base_frames)
    if parameters["base_frame"] not in frames:
        return (
            f"{node} takes targets in frame {parameters['base_frame']!r}, which is none of "
            f"robot.franka.base_frames {list(frames)}."
        )
    if parameters["end_effector_frame"] != robot.ee_frame:
        return (
            f"{node} moves {parameters['end_effector_frame']!r}, targets are for robot.ee_frame="
            f"{robot.ee_frame!r}: set end_effector_frame in its configuration."
        )
    return _switches_fault(parameters, node) or _force_fault(parameters, config, node)


def _switches_fault(parameters: Mapping[str, Any], node: str) -> str:
    wanted = {
        "limit_error": (True, "no force is bounded without it"),
        "limit_torques": (True, "a jump of a target would trip a reflex without it"),
        "stop_commands": (False, "the arm does not move with it"),
        "use_operational_space": (False, "stiffness is no force per metre with it"),
        "variable_stiffness.enabled": (False, "a topic could raise the stiffness"),
    }
    for name, (value, why) in wanted.items():
        if name in parameters and bool(parameters[name]) != value:
            shown = str(value).lower()
            return f"{node} must have {name}: {shown} ({why}): ros2 param set {node} {name} {shown}"
    return ""


def _force_fault(parameters: Mapping[str, Any], config: Config, node: str) -> str:
    allowed_n, ceiling_n = config.safety.max_force_n, force_ceiling_n(parameters)
    if ceiling_n <= allowed_n:
        return ""
    if not math.isfinite(ceiling_n):
        return f"{node}: stiffness or error clip is no number, so that no force is bounded."
    stiffest = max(float(parameters[f"task.k_pos_{axis}"]) for axis in AXES)
    clip_m = math.floor(1000 * allowed_n / (math.sqrt(len(AXES)) * stiffest)) / 1000
    clips = [float(parameters[f"task.error_clip.{axis}"]) for axis in AXES]
    return (
        f"{node} may press with up to {ceiling_n:.0f} N (stiffness up to {stiffest:g} N/m, error "
        f"clip {_list(clips)} m), safety.max_force_n is {allowed_n:g}: set task.error_clip.x, y "
        f"and z to {clip_m:.3f}, e.g. ros2 param set {node} task.error_clip.x {clip_m:.3f}"
    )


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
