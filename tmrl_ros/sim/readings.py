"""What a simulated cell reports: the robot's own measurements, and the truth behind them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CellState:
    """What the robot's own sensors report; base frame.

    Attributes:
        stamp_s: Simulation time.
        q: Joint angles (7,), rad.
        dq: Joint velocities (7,), rad/s.
        tau: Joint torques (7,), N m, gravity included.
        ee_position_m: Tool centre point (3,).
        ee_quaternion_xyzw: Its orientation (4,).
        ee_twist: Linear (m/s) then angular (rad/s) velocity (6,).
        external_wrench: Force (N) and torque (N m) acting on the tool centre point (6,), estimated
            from joint torques, so it includes the weight of what is held.
        gripper_width_m: Opening between the finger pads.
    """

    stamp_s: float
    q: Array
    dq: Array
    tau: Array
    ee_position_m: Array
    ee_quaternion_xyzw: Array
    ee_twist: Array
    external_wrench: Array
    gripper_width_m: float

    @property
    def external_force_n(self) -> Array:
        """The force part of the external wrench (3,), N."""
        return self.external_wrench[:3]


@dataclass(frozen=True, kw_only=True)
class GroundTruth:
    """What only the simulation knows.

    Attributes:
        success: The task is done at this moment.
        failure: Something that ends the episode badly: wrong object lifted, object off the table.
        progress: In [0, 1]; 1 exactly on success.
        object_positions: Object centres (3,), metres, base frame.
        held: Names of the objects between the finger pads.
    """

    success: bool
    failure: bool
    progress: float
    object_positions: dict[str, Array]
    held: frozenset[str]
