"""Every cause that latches the stop: its code, what it means and what a person does about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tmrl_ros.core.types import HOLD_RELEASED


class Code(StrEnum):
    """Cause of a latch, as published in `SafetyState.code` and `ChunkOutcome.reason`."""

    START = "START"
    OPERATOR_STOP = "OPERATOR_STOP"
    SHUTDOWN = "SHUTDOWN"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    SECOND_PUBLISHER = "SECOND_PUBLISHER"
    # the robot
    ROBOT_SILENT = "ROBOT_SILENT"
    NO_PROGRESS = "NO_PROGRESS"
    CLOCK_BACKWARDS = "CLOCK_BACKWARDS"
    MALFORMED_STATE = "MALFORMED_STATE"
    NON_FINITE_STATE = "NON_FINITE_STATE"
    STATE_ORIENTATION = "STATE_ORIENTATION"
    STATE_FRAME = "STATE_FRAME"
    OUTSIDE_WORKSPACE = "OUTSIDE_WORKSPACE"
    IN_KEEP_OUT = "IN_KEEP_OUT"
    FORCE = "FORCE"
    REFLEX = "REFLEX"
    REFLEXES = "REFLEXES"
    USER_STOP = "USER_STOP"
    UNCONFIGURED = "UNCONFIGURED"
    GUIDING = "GUIDING"
    RECOVERING = "RECOVERING"
    ROBOT_FAULT = "ROBOT_FAULT"
    ARM_MODEL = "ARM_MODEL"
    # the rest of the graph, where configured
    POLICY_TIMEOUT = "POLICY_TIMEOUT"
    REWARD_TIMEOUT = "REWARD_TIMEOUT"
    LEARNER_TIMEOUT = "LEARNER_TIMEOUT"
    # the chunk
    MALFORMED_CHUNK = "MALFORMED_CHUNK"
    WRONG_SIZE = "WRONG_SIZE"
    NON_FINITE_ACTION = "NON_FINITE_ACTION"
    WRONG_ACTION_SPACE = "WRONG_ACTION_SPACE"
    WRONG_FRAME = "WRONG_FRAME"
    WRONG_RATE = "WRONG_RATE"
    BAD_ORIENTATION = "BAD_ORIENTATION"
    WORKSPACE = "WORKSPACE"
    KEEP_OUT = "KEEP_OUT"
    JOINT_LIMIT = "JOINT_LIMIT"
    OUT_OF_REACH = "OUT_OF_REACH"
    STEP = "STEP"
    GRIPPER = "GRIPPER"
    START_OFFSET = "START_OFFSET"
    ROTATION_STEP = "ROTATION_STEP"
    START_ROTATION = "START_ROTATION"
    STALE_CHUNK = "STALE_CHUNK"
    CHUNK_AHEAD = "CHUNK_AHEAD"
    # a person at a stick
    TELEOP_COMMAND = "TELEOP_COMMAND"


class Refusal(StrEnum):
    """Why a chunk was refused or ended without latching, as published in `ChunkOutcome.reason`."""

    LATCHED = "LATCHED"
    BUSY = "BUSY"
    OUT_OF_ORDER = "OUT_OF_ORDER"
    PREFIX_NOT_SENT = "PREFIX_NOT_SENT"
    HOLD_RELEASED = HOLD_RELEASED


_POLICY = "Do not go on before the policy bundle and its output are checked."
_GRAPH = "Look at its log and at the load, then reset."
_DRIVER = "Check the robot driver and its log."

ADVICE: dict[Code, str] = {
    Code.START: "Check that nobody is in the cell, then reset.",
    Code.OPERATOR_STOP: "Reset when the reason for the stop is gone.",
    Code.SHUTDOWN: "Start the supervisor again, then reset.",
    Code.INTERNAL_ERROR: "Report it with the supervisor's log; restart the session.",
    Code.SECOND_PUBLISHER: "Stop the other program that publishes on the robot's target topic.",
    Code.ROBOT_SILENT: "Check that the robot driver runs and its cable is plugged in.",
    Code.NO_PROGRESS: "Check that the robot's controller is active and not blocked.",
    Code.CLOCK_BACKWARDS: "Was the robot driver or its clock restarted? Then reset.",
    Code.MALFORMED_STATE: _DRIVER,
    Code.NON_FINITE_STATE: _DRIVER,
    Code.STATE_ORIENTATION: _DRIVER,
    Code.STATE_FRAME: "Make robot.base_frame and the driver's frame the same.",
    Code.OUTSIDE_WORKSPACE: "Guide the arm back into its workspace by hand, then reset.",
    Code.IN_KEEP_OUT: "Guide the arm out of the box by hand, then reset.",
    Code.FORCE: "Look for a collision, free the arm, then reset.",
    Code.REFLEX: "Look for a collision, recover the robot (docs/hardware.md), then reset.",
    Code.REFLEXES: "Find out why before you go on; a reset is refused until a minute has passed.",
    Code.USER_STOP: "Release the robot's stop button, recover it (docs/hardware.md), then reset.",
    Code.UNCONFIGURED: "Find out why, recover the robot (docs/hardware.md), then reset.",
    Code.GUIDING: "Finish guiding the arm by hand, step back, then reset.",
    Code.RECOVERING: "Wait until the robot has recovered, then reset.",
    Code.ROBOT_FAULT: "Clear these faults (docs/hardware.md), then reset.",
    Code.ARM_MODEL: "Set robot.model and robot.tool_* to the arm that stands there.",
    Code.POLICY_TIMEOUT: _GRAPH,
    Code.REWARD_TIMEOUT: _GRAPH,
    Code.LEARNER_TIMEOUT: _GRAPH,
    Code.MALFORMED_CHUNK: _POLICY,
    Code.WRONG_SIZE: _POLICY,
    Code.NON_FINITE_ACTION: _POLICY,
    Code.WRONG_ACTION_SPACE: "Use a policy bundle made for cartesian_relative actions.",
    Code.WRONG_FRAME: "The chunk's frame must be robot.base_frame.",
    Code.WRONG_RATE: "Use a policy bundle made for robot.control_rate_hz.",
    Code.BAD_ORIENTATION: _POLICY,
    Code.WORKSPACE: "Check the policy's targets and safety.workspace_min_m / max_m.",
    Code.KEEP_OUT: "Check the policy's targets and safety.keep_out.",
    Code.JOINT_LIMIT: "Guide the arm into a better posture by hand, or make the workspace smaller.",
    Code.OUT_OF_REACH: "Make the workspace smaller than the arm's reach.",
    Code.STEP: _POLICY,
    Code.GRIPPER: "The gripper opening must be 0 (closed) to 1 (open).",
    Code.START_OFFSET: "A chunk must begin where the arm is; check its reference pose.",
    Code.ROTATION_STEP: _POLICY,
    Code.START_ROTATION: "Guide the tool to the task's orientation by hand, then reset.",
    Code.STALE_CHUNK: "The policy answers too late: look at its inference time and the load.",
    Code.TELEOP_COMMAND: "Let go; check the device, its axes in teleop.* and its driver.",
    Code.CHUNK_AHEAD: "Stamps must be the robot's clock; check who made the chunk.",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason to stop: `message` is a sentence for the operator, `value` what was seen."""

    code: Code
    message: str
    value: str = ""


def cause(code: Code, what: str, value: str = "") -> Cause:
    """Cause whose sentence says what is wrong and then what to do.

    Args:
        code: Which cause.
        what: A sentence with the offending value, with its full stop.
        value: The value alone.
    """
    return Cause(code, f"{what} {ADVICE[code]}", value)
