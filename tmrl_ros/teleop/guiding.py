"""Guiding by hand: the target follows the tool that a person pushes, and the arm yields.

The arm keeps its stiffness, so that it feels like a stick in honey, and so that a hold, which is
what every stop commands, has its full force at once. What is asked for are velocities like those
of a stick: the supervisor's checks are the same.
"""

from __future__ import annotations

import numpy as np

from tmrl_ros.core.teleop_config import TeleopConfig
from tmrl_ros.core.types import FloatArray


class Guiding:
    """How fast the target has to follow the tool."""

    def __init__(self, config: TeleopConfig) -> None:
        """Take what `teleop.guide_*` and `teleop.max_speed_mps` say."""
        self._gain_per_s = config.guide_gain_per_s
        self._deadband_m = config.guide_deadband_m
        self._max_speed_mps = config.max_speed_mps

    def speed(self, target_m: FloatArray, measured_m: FloatArray) -> FloatArray:
        """Velocity (3,) of the target, m/s.

        What the arm hangs beside its target by itself is not followed, or it would sink; what a
        person pushes it further is.

        Args:
            target_m: Where the arm was sent last (3,).
            measured_m: Where the tool is (3,).
        """
        pushed = measured_m - target_m
        far_m = float(np.linalg.norm(pushed))
        if far_m <= self._deadband_m:
            return np.zeros(3)
        fast_mps = min(self._gain_per_s * (far_m - self._deadband_m), self._max_speed_mps)
        found: FloatArray = pushed * (fast_mps / far_m)
        return found
