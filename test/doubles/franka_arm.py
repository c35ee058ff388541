"""A Franka behind its control box, without ROS: the simulated arm, its faults, hand and memory.

It does what the real one does where that is surprising: a fault silences the state; after a stop
button was pressed and released nothing shows, but the arm refuses to move; and an inactive
controller remembers the last pose it was sent and goes there when it is activated.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tmrl_ros.core.config import Config
from tmrl_ros.core.types import Pose, RobotMode, RobotSample, Target
from tmrl_ros.robots.simulated_franka import SimulatedFranka
from tmrl_ros.sim import SceneBlockedError

CONTROLLER = "cartesian_controller"
STATE_BROADCASTER = "franka_robot_state_broadcaster"
POSE_BROADCASTER = "pose_broadcaster"
CONTROLLERS = ("joint_state_broadcaster", STATE_BROADCASTER, POSE_BROADCASTER, CONTROLLER)
STILL_M = 1e-4
STILL_PERIODS = 10
"""Fingers that let go of an object wait until their servo's set point has come out of it."""


@dataclass
class FingerGoal:
    """A goal of the hand: where the fingers go, and how far off counts as reached."""

    width_m: float
    inner_m: float
    outer_m: float
    still: int = 0
    result: bool | None = None


@dataclass
class Arm:
    """One arm with its control box.

    Attributes:
        mode: As the robot's own state says it.
        needs_recovery: It refuses to move until its errors are recovered.
        hardware_active: The hardware component is active.
        active: Names of active controllers.
        last_errors: What stopped the last motion.
        jump_m: How far from the arm the first pose after an activation was.
    """

    config: Config
    mode: RobotMode = RobotMode.MOVE
    errors: tuple[str, ...] = ()
    needs_recovery: bool = False
    hardware_active: bool = True
    active: set[str] = field(default_factory=lambda: set(CONTROLLERS))
    last_errors: tuple[str, ...] = ()
    jump_m: float = 0.0
    finger_goals: list[str] = field(default_factory=list)
    overlapping: int = 0
    placed: int = 0

    def __post_init__(self) -> None:
        self.simulation = SimulatedFranka(self.config)
        self._remembered: Pose | None = None
        self._width_m = self.config.robot.gripper_max_width_m
        self._goal: FingerGoal | None = None
        self._number = 0
        self._last_width_m = 0.0
        self.sample = self._next = self.simulation.sample()
        self._held = self.sample.ee_pose

    @property
    def moves(self) -> bool:
        """Whether the controller's poses reach the motors."""
        return CONTROLLER in self.active and self.hardware_active and not self.needs_recovery

    def on_pose(self, pose: Pose) -> None:
        """A pose on the controller's topic; followed now or remembered."""
        if self.moves:
            self._held = pose
        else:
            self._remembered = pose

    def advance(self) -> None:
        """Begin one control period, whose end is worked out now and reached at its end."""
        self._number += 1
        self.sample = self._next
        target = Target(self._number, self._number, False, self._held, self._width_m)
        self.simulation.accept(target)
        self.simulation.advance()
        self._next = self.simulation.sample()
        self._look_at_fingers()

    def sample_at(self, share: float) -> RobotSample:
        """The arm when `share` (0 to 1) of the control period is over."""
        before, after = self.sample, self._next

        def between(a: Any, b: Any) -> Any:
            return a + share * (b - a)

        quaternion = between(before.ee_pose.quaternion, after.ee_pose.quaternion)
        return replace(
            after,
            q=between(before.q, after.q),
            dq=between(before.dq, after.dq),
            ee_pose=Pose(
                between(before.ee_pose.position, after.ee_pose.position),
                quaternion / np.linalg.norm(quaternion),
            ),
            gripper_width_m=between(before.gripper_width_m, after.gripper_width_m),
        )

    # faults

    def reflex_in_motion(self, name: str = "cartesian_reflex") -> None:
        """Stop by itself, as after a collision: the state never shows it."""
        self.last_errors = (name,)
        self._stop(RobotMode.REFLEX, (name,))

    def reflex(self, name: str = "joint_reflex") -> None:
        """A reflex while no motion is commanded: the state goes on and shows it."""
        self.mode, self.errors, self.needs_recovery = RobotMode.REFLEX, (name,), True
        self._held = self.sample.ee_pose

    def press_stop(self) -> None:
        """The stop button while the motion generator is idle: the state goes on and says so."""
        self.mode, self.needs_recovery = RobotMode.USER_STOPPED, True
        self._held = self.sample.ee_pose

    def press_stop_in_motion(self) -> None:
        """The stop button in motion ends like any error."""
        self._stop(RobotMode.USER_STOPPED, ())

    def release_stop(self) -> None:
        """The button is out again: nothing shows, and nothing moves."""
        self.mode = RobotMode.IDLE

    def unconfigure(self) -> None:
        """The hardware component goes down without a word."""
        self._stop(RobotMode.IDLE, ())

    def _stop(self, mode: RobotMode, errors: tuple[str, ...]) -> None:
        self.mode, self.errors, self.needs_recovery = mode, errors, True
        self.hardware_active = False
        self.active.clear()
        self._remembered = self._held  # the last target was still on its way when the fault came
        self._held = self.sample.ee_pose

    # recovery

    def recover_errors(self) -> bool:
        """Error recovery; refused while the button is pressed."""
        if self.mode is RobotMode.USER_STOPPED:
            return False
        self.mode, self.errors, self.needs_recovery = RobotMode.IDLE, (), False
        return True

    def activate_hardware(self) -> bool:
        """Activate the component, which recovers a reflex by itself."""
        if self.mode is RobotMode.USER_STOPPED:
            return False
        self.hardware_active = True
        self.recover_errors()
        return True

    def activate(self, names: list[str]) -> str:
        """Activate controllers, strictly; why not, or ""."""
        for name in names:
            if name not in CONTROLLERS:
                return f"Could not activate '{name}': it is not loaded"
            if name in self.active:
                return f"Could not activate '{name}': it is active already"
        if not self.hardware_active:
            return f"Could not activate '{names[0]}': its interfaces are not available"
        self.active.update(names)
        if CONTROLLER in names:
            self.mode = RobotMode.MOVE
            self._held = self.sample.ee_pose
            if self._remembered is not None:
                away = self._remembered.position - self.sample.ee_pose.position
                self.jump_m = float(np.linalg.norm(away))
                self._held, self._remembered = self._remembered, None
        return ""

    def guide(self, by_m: float) -> None:
        """A person pushes the stopped arm aside."""
        here = self.sample.ee_pose
        self._held = Pose(here.position + np.array([0.0, by_m, 0.0]), here.quaternion)

    # hand and scene

    def finger_goal(self, word: str, goal: FingerGoal) -> FingerGoal:
        """Begin a goal; one that is under way breaks."""
        self.finger_goals.append(word)
        if self._goal is not None and self._goal.result is None:
            self.overlapping += 1
            self._goal.result = False
        self._goal, self._width_m = goal, goal.width_m
        return goal

    def place_objects(self) -> bool:
        """A person puts the objects somewhere; False when the arm is in the way."""
        try:
            self.simulation.place_objects(1000 + self.placed)
        except SceneBlockedError:
            return False
        self.placed += 1
        self._width_m = self.config.robot.gripper_max_width_m
        return True

    def _look_at_fingers(self) -> None:
        width_m = self._next.gripper_width_m
        still = abs(width_m - self._last_width_m) < STILL_M
        self._last_width_m = width_m
        goal = self._goal
        if goal is None or goal.result is not None:
            return
        goal.still = goal.still + 1 if still else 0
        if goal.still >= STILL_PERIODS:
            # The simulated fingers stop a millimetre short of their stops.
            low, high = goal.width_m - goal.inner_m - 2e-3, goal.width_m + goal.outer_m + 2e-3
            goal.result = low <= width_m <= high
