"""Which of the supervisor's targets go on to the controller, and as what pose.

crisp's controller checks nothing: not the numbers, not the frame, not the age. The supervisor has
judged a target already; what is checked here is what can go wrong between the two.
"""

from __future__ import annotations

import numpy as np

from tmrl_ros.core.types import NANOSECONDS, Pose, Target
from tmrl_ros.robots.franka.readings import PoseReading

MAX_AGE_S = 0.3
"""A target that answers an older state was held up on its way: the arm has gone on since."""
UNIT_TOLERANCE = 1e-2


class TargetFilter:
    """Turns targets into poses for the controller.

    Args:
        frame_id: Frame that targets must be in.
    """

    def __init__(self, frame_id: str) -> None:
        self._frame_id = frame_id
        self._last = 0, 0
        self.dropped = 0
        """Targets that were held up and not passed on."""

    def pose_for(
        self, target: Target, measured: PoseReading | None, *, may_hold: bool, may_move: bool
    ) -> Pose | None:
        """The pose to send, or None when the target is not for now.

        A hold becomes the pose measured at this moment: that in the message is a control period
        old, and going back to it would be a motion.

        Args:
            target: From the supervisor.
            measured: The newest pose, None when there is none of now.
            may_hold: The controller is active. One that is not remembers a pose and goes there
                when it is activated, wherever the arm has been guided meanwhile.
            may_move: Nothing at all is wrong with the arm.

        Raises:
            ValueError: The target is no pose, or in another frame; one sentence.
        """
        self._check(target)
        allowed = may_hold if target.hold else may_move
        if not allowed or self._last == (target.sequence, target.stamp_ns):
            return None
        self._last = target.sequence, target.stamp_ns
        if target.hold:
            return _unit(target.pose) if measured is None else measured.pose
        if measured is None:
            return None
        if (measured.stamp_ns - target.stamp_ns) / NANOSECONDS > MAX_AGE_S:
            self.dropped += 1
            return None
        return _unit(target.pose)

    def _check(self, target: Target) -> None:
        position, quaternion = target.pose.position, target.pose.quaternion
        numbers = np.concatenate([position, quaternion, [target.gripper_width_m]])
        if not np.isfinite(numbers).all() or (
            abs(float(np.linalg.norm(quaternion)) - 1.0) > UNIT_TOLERANCE
        ):
            raise ValueError(
                f"Target {target.sequence} is ignored: position {position.tolist()}, quaternion "
                f"{quaternion.tolist()}, gripper {target.gripper_width_m} m is no pose."
            )
        if target.frame_id != self._frame_id:
            raise ValueError(
                f"Target {target.sequence} is ignored: it is in frame {target.frame_id!r}, not in "
                f"robot.base_frame {self._frame_id!r}."
            )


def _unit(pose: Pose) -> Pose:
    return Pose(pose.position, pose.quaternion / np.linalg.norm(pose.quaternion))
