"""A person takes the arm in the middle of an episode and gives it back: their share of each row.

The policy goes on proposing chunks. While a person holds the arm, the gate replaces rows of the
running chunk by where the person steers, and their share grows and fades over
`safety.teleop_blend_s`, so that neither hand-over is a jerk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tmrl_ros.core.config import SafetyConfig
from tmrl_ros.core.types import NANOSECONDS, TeleopCommand
from tmrl_ros.safety.causes import Cause, Code, cause
from tmrl_ros.safety.geometry import Vec3, vec3
from tmrl_ros.safety.limits import GRIPPER_EXCESS, Limits

REPLACED = frozenset(
    {
        Code.NON_FINITE_ACTION,
        Code.BAD_ORIENTATION,
        Code.WORKSPACE,
        Code.KEEP_OUT,
        Code.STEP,
        Code.GRIPPER,
        Code.START_OFFSET,
        Code.ROTATION_STEP,
        Code.START_ROTATION,
    }
)
"""What a policy asks for wrongly does not matter while a person's rows replace it."""

LEAST = 1e-6
"""A smaller share is none."""

NOWHERE: Vec3 = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Hand:
    """What a person does to one row.

    `share` (above 0, up to 1) is theirs, the rest the policy's; `move` (m) is where they steer in
    one control period; `opening` (0..1) is the gripper's, None as it is; without `engaged` they
    have let go, and their share fades from where they steered last.
    """

    share: float
    move: Vec3
    opening: float | None
    engaged: bool


class Takeover:
    """Follows the newest command of the person who drives; times are monotonic wall seconds."""

    def __init__(self, safety: SafetyConfig, limits: Limits) -> None:
        """Begin with nobody at the stick."""
        self._timeout_s = safety.teleop_timeout_s
        self._limits = limits
        self._period_s = 1.0 / limits.control_rate_hz
        self._rate = 1.0 / max(safety.teleop_blend_s, 1e-9)  # share per second
        self._command: TeleopCommand | None = None
        self._heard_s = 0.0
        self._share = 0.0
        self._move = NOWHERE
        self._stamp_ns = 0

    def on_command(self, command: TeleopCommand, wall_s: float) -> Cause | None:
        """Take a command, or say what is wrong with it.

        Whoever took the arm first keeps it: others are not heard until that one has let go.
        """
        driving = self._command
        if self.engaged(wall_s) and driving is not None and driving.device != command.device:
            return None
        if not command.engaged:
            self._command = None
            return None
        wrong = command_cause(command, self._limits)
        if wrong is None:
            self._command, self._heard_s = command, wall_s
        return wrong

    def engaged(self, wall_s: float) -> bool:
        """Whether a person holds the arm; one that has not been heard of lately has let go."""
        return self._command is not None and wall_s - self._heard_s <= self._timeout_s

    def let_go(self) -> None:
        """Forget the person: the stop has latched."""
        self._command, self._share = None, 0.0

    def hand(self, stamp_ns: int, wall_s: float) -> Hand | None:
        """The person's part in the row that answers the robot state of `stamp_ns`, if any.

        Their share grows with every row and fades with the robot's time.
        """
        passed_s = max(0, stamp_ns - self._stamp_ns) / NANOSECONDS
        self._stamp_ns = stamp_ns
        if self.engaged(wall_s) and self._command is not None:
            self._share = min(1.0, self._share + self._rate * self._period_s)
            x, y, z = vec3(self._command.linear_mps)
            self._move = (x * self._period_s, y * self._period_s, z * self._period_s)
            asked = self._command.gripper
            opening = None if math.isnan(asked) else min(max(asked, 0.0), 1.0)
            return Hand(self._share, self._move, opening, True)
        self._command = None
        self._share = max(0.0, self._share - self._rate * passed_s)
        return Hand(self._share, self._move, None, False) if self._share > LEAST else None


def command_cause(command: TeleopCommand, limits: Limits) -> Cause | None:
    """What is wrong with a command that wants to move the arm.

    What is merely too fast is slowed down later, as a policy's targets are.
    """
    who, linear = f"The teleop command of {command.device!r}", command.linear_mps.tolist()
    if command.frame_id != limits.base_frame:
        what = f"{who} is in frame {command.frame_id!r}, not {limits.base_frame!r}."
        return cause(Code.TELEOP_COMMAND, what, repr(command.frame_id))
    speed_mps = math.hypot(*linear)
    if not speed_mps / limits.control_rate_hz <= limits.max_asked_step_m:
        what = f"{who} asks for a velocity of {linear} m/s, which nobody steers."
        return cause(Code.TELEOP_COMMAND, what, f"{speed_mps:.3g} m/s")
    gripper = command.gripper
    if not (math.isnan(gripper) or -GRIPPER_EXCESS <= gripper <= 1.0 + GRIPPER_EXCESS):
        what = f"{who} asks for a gripper opening of {gripper:.3g}, not 0 to 1."
        return cause(Code.TELEOP_COMMAND, what, f"{gripper:.3g}")
    return None
