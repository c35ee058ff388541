"""Joint limits of the arms that supervisor and driver know, as their maker states them.

Panda: libfranka 0.9.2 `rate_limiting.h` and `panda_arm.urdf`. FR3: libfranka 0.21.2
`rate_limiting.h` and `fr3.urdf`; its joints may move more slowly the nearer they are to a limit
(`computeUpperLimitsJointVelocity`, `computeLowerLimitsJointVelocity`). Both arms have the same
Denavit-Hartenberg parameters, so that a pose alone does not tell them apart; joint names do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

JOINTS = 7

Joints = tuple[float, ...]
"""Seven values, one per joint from the base: rad, or rad/s."""


@dataclass(frozen=True, slots=True)
class Braking:
    """Velocity bound sqrt(`slope` * distance) - `offset` of a joint, distance to `low`, `high`."""

    slope: float
    offset: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ArmModel:
    """Limits of one kind of arm: positions in rad, speeds in rad/s, tool acceleration in m/s^2."""

    name: str
    low: Joints
    high: Joints
    speed: Joints
    max_tool_accel_mps2: float
    braking: tuple[Braking, ...] = ()

    def fastest(self, joint: int, q: float) -> tuple[float, float]:
        """Lowest (negative) and highest velocity that a joint may have at the angle `q`."""
        speed = self.speed[joint]
        if not self.braking:
            return -speed, speed
        brake = self.braking[joint]
        up = math.sqrt(max(0.0, brake.slope * (brake.high - q))) - brake.offset
        down = math.sqrt(max(0.0, brake.slope * (q - brake.low))) - brake.offset
        return -min(speed, max(0.0, down)), min(speed, max(0.0, up))


PANDA = ArmModel(
    name="panda",
    low=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
    high=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
    speed=(2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
    max_tool_accel_mps2=13.0,
)
FR3 = ArmModel(
    name="fr3",
    low=(-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159),
    high=(2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159),
    speed=(2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
    max_tool_accel_mps2=9.0,
    braking=(
        Braking(12.0, 0.30, -2.7501, 2.7501),
        Braking(5.17, 0.20, -1.7918, 1.7918),
        Braking(7.00, 0.20, -2.9065, 2.9065),
        Braking(8.00, 0.30, -3.0481, -0.1458),
        Braking(34.0, 0.35, -2.8101, 2.8101),
        Braking(11.0, 0.35, 0.54092, 4.5205),
        Braking(34.0, 0.35, -3.0196, 3.0196),
    ),
)
MODELS = {model.name: model for model in (PANDA, FR3)}
