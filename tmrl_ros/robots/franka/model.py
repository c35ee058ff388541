"""Which arm is it: joint names, and joint limits of Panda and FR3 against a robot description."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from tmrl_ros.core.arm_models import JOINTS, MODELS

Model = Literal["panda", "fr3"]
POSITION_LIMITS_RAD = {
    name: tuple(zip(arm.low, arm.high, strict=True)) for name, arm in MODELS.items()
}
AGREES_RAD = 0.2
"""Newer systems of the FR3 widen its limits by less; Panda and FR3 differ by more (joint 6)."""

MOUNTED_WITHIN = 1e-3
"""Metres or radians that the arm's base may be away from the description's root."""


def joint_names(model: str) -> tuple[str, ...]:
    """Names of the arm's joints, as franka_description has them without a prefix."""
    return tuple(f"{model}_joint{number}" for number in range(1, JOINTS + 1))


def described_limits(root: Element, names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Position limits (rad) of joints in a robot description."""
    found: dict[str, tuple[float, float]] = {}
    for joint in root.iter("joint"):
        limit = joint.find("limit")
        name = joint.get("name", "")
        if name in names and limit is not None:
            found[name] = (float(limit.get("lower", "nan")), float(limit.get("upper", "nan")))
    return found


def mounting_fault(root: Element, link: str) -> str:
    """Why a link is not where the description's root is, as a sentence; "" when it is.

    crisp reckons in the frame of the root link, whatever its parameter base_frame says.
    """
    above: dict[str, Element] = {}
    for joint in root.iter("joint"):
        child = joint.find("child")
        if child is not None:
            above[child.get("link", "")] = joint
    while link in above:
        joint = above.pop(link)
        origin, parent = joint.find("origin"), joint.find("parent")
        attributes = {} if origin is None else origin.attrib
        numbers = f"{attributes.get('xyz', '')} {attributes.get('rpy', '')}".split()
        if joint.get("type") != "fixed" or any(abs(float(n)) > MOUNTED_WITHIN for n in numbers):
            name = "" if parent is None else parent.get("link", "")
            return (
                f"robot_description has {link} away from {name or 'its root'} (joint "
                f"{joint.get('name')}): the controller takes targets in the root's frame, so that "
                "the arm's base must be there."
            )
        link = "" if parent is None else parent.get("link", "")
    return ""


def model_fault(urdf: str, model: str) -> str:
    """Why a robot description is not that of the configured arm, as a sentence; "" when it is."""
    try:
        return _fault(ElementTree.fromstring(urdf), model)
    except ElementTree.ParseError as error:
        return f"robot_description is no XML ({error})."
    except ValueError as error:
        return f"robot_description has a limit or an origin that is no number ({error})."


def _fault(root: Element, model: str) -> str:
    names = joint_names(model)
    found = described_limits(root, names)
    if missing := [name for name in names if name not in found]:
        return (
            f"robot.model={model}, but robot_description has no joint {missing[0]}: set "
            "robot.model to the arm that is there, or start the robot with its robot_type."
        )
    for name, (low, high) in zip(names, POSITION_LIMITS_RAD[model], strict=True):
        at = found[name]
        # Written so that NaN disagrees.
        if not (abs(at[0] - low) <= AGREES_RAD and abs(at[1] - high) <= AGREES_RAD):
            return (
                f"robot.model={model} has {name} from {low:g} to {high:g} rad, robot_description "
                f"from {at[0]:g} to {at[1]:g}: that is another arm."
            )
    return mounting_fault(root, f"{model}_link0")
