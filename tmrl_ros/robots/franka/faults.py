"""What is wrong with a real Franka, from signals of which each tells only a part.

A fault in motion makes the hardware component unconfigured and deactivates every controller on it,
the state broadcasters too: the robot then goes silent, and says only in its own terminal why. A
stop button that was pressed and released leaves no trace in the state either, yet the robot refuses
to move. And activating a controller may clear a reflex by itself. So a fault is latched here when
it is first seen, and only a person's guided recovery clears it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from tmrl_ros.core.types import RobotMode

STOP_MODES = (RobotMode.REFLEX, RobotMode.USER_STOPPED)


class Fault(StrEnum):
    """Faults as they stand in `RobotState.faults`; a reflex adds the robot's own names for it."""

    NOT_RECOVERED = "not_recovered"
    USER_STOP_NOT_RECOVERED = "user_stop_not_recovered"
    HARDWARE_INACTIVE = "hardware_inactive"
    CONTROLLER_INACTIVE = "controller_inactive"
    SECOND_PUBLISHER = "second_publisher_on_target_pose"
    CONTROLLER_CHANGED = "controller_parameters_changed"
    WRONG_FRAME = "pose_in_another_frame"
    STATE_STALE = "joint_states_or_wrench_stale"
    GRIPPER_SILENT = "gripper_silent"
    GRIPPER_FAILED = "gripper_failed"


@dataclass(frozen=True)
class Report:
    """What `RobotState` says: the mode, and names of faults."""

    mode: RobotMode
    faults: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether the arm may be sent targets."""
        return not self.faults and self.mode in (RobotMode.MOVE, RobotMode.IDLE, RobotMode.OTHER)


@dataclass
class FaultModel:
    """Collects the signals of one robot.

    Args:
        hardware: Name of the hardware component.
        controller: Name of the controller that takes our targets.

    Attributes:
        pressed: The stop button is pressed, as far as the robot says.
        hardware_active: None before the first word of the controller manager.
        controller_active: Likewise.
    """

    hardware: str
    controller: str
    pressed: bool = False
    hardware_active: bool | None = None
    controller_active: bool | None = None
    _reason: RobotMode | None = None
    _names: tuple[str, ...] = ()
    _latched: bool = False
    _mode: RobotMode | None = None
    _flags: set[Fault] = field(default_factory=set)

    @property
    def needs_recovery(self) -> bool:
        """Whether a person has to recover the robot before it moves."""
        return self._latched or self.hardware_active is False or self.controller_active is False

    def on_mode(self, mode: RobotMode, errors: Iterable[str]) -> None:
        """Take in mode and active errors of the robot's own state."""
        self._mode = mode
        self.pressed = mode is RobotMode.USER_STOPPED
        names = tuple(errors)
        if mode in STOP_MODES or names:
            self._latch(mode if mode in STOP_MODES else RobotMode.REFLEX, names)

    @property
    def may_hold(self) -> bool:
        """Whether the controller is active and so follows the pose that it is given."""
        return not self.needs_recovery and not self.pressed

    def on_silence(self) -> None:
        """Forget the mode of a robot that no longer says one."""
        self._mode, self.pressed = None, False

    def on_activity(self, hardware: dict[str, bool], controllers: dict[str, bool]) -> None:
        """Take in which components are active, by name, as the controller manager says."""
        self.hardware_active = hardware.get(self.hardware, False)
        self.controller_active = controllers.get(self.controller, False)
        if not self.hardware_active:
            self._latched = True

    def flag(self, fault: Fault, present: bool) -> None:
        """Say of a fault that is looked for elsewhere whether it is there."""
        (self._flags.add if present else self._flags.discard)(fault)

    def cleared(self) -> None:
        """A person has gone through the guided recovery."""
        self._latched, self._reason, self._names = False, None, ()

    def report(self) -> Report:
        """What to say of the robot now."""
        flags = tuple(sorted(self._flags))
        if self.pressed:
            return Report(RobotMode.USER_STOPPED, flags)
        if self._reason is RobotMode.REFLEX:
            return Report(RobotMode.REFLEX, (*self._names, *flags))
        if self._reason is RobotMode.USER_STOPPED:
            flags = (Fault.USER_STOP_NOT_RECOVERED, *flags)
        if self.hardware_active is False:
            return Report(RobotMode.UNCONFIGURED, (Fault.HARDWARE_INACTIVE, *flags))
        if self._latched and self._reason is None:
            flags = (Fault.NOT_RECOVERED, *flags)
        if self.controller_active is False:
            flags = (*flags, Fault.CONTROLLER_INACTIVE)
        return Report(self._mode if self._mode is not None else RobotMode.MOVE, flags)

    def _latch(self, reason: RobotMode, names: Iterable[str]) -> None:
        self._latched = True
        if self._reason is None or reason is RobotMode.USER_STOPPED:
            self._reason = reason
        self._names = tuple(dict.fromkeys((*self._names, *names)))
