"""Kinematics of the simulated arm: forward, Jacobian, damped inverse within joint limits."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.sim.engine import mujoco
from tmrl_ros.sim.scene import build_model

Array = NDArray[np.float64]

ARM_JOINTS = tuple(f"panda_joint{index}" for index in range(1, 8))
FINGER_JOINTS = ("panda_finger_joint1", "panda_finger_joint2")
Q_NOMINAL = np.array([0.0, -0.4, 0.0, -2.4, 0.0, 2.0, 0.785398163])
"""Elbow-up posture over the table (rad); redundancy is resolved towards it."""
VELOCITY_LIMITS = np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61])
"""Panda joint velocity limits, rad/s (panda.urdf)."""
LIMIT_MARGIN_RAD = 0.02
IDENTITY = np.eye(6)
WELL_CONDITIONED = 0.1
"""Smallest singular value of the Jacobian above which the inverse is not damped."""
_TO_XYZW, _TO_WXYZ = np.array([1, 2, 3, 0]), np.array([3, 0, 1, 2])


def xyzw_from_wxyz(quaternion: Array) -> Array:
    """Reorder a MuJoCo quaternion (w first) to the ROS order (w last)."""
    reordered: Array = quaternion[_TO_XYZW]
    return reordered


def wxyz_from_xyzw(quaternion: Array) -> Array:
    """Reorder a ROS quaternion (w last) to the MuJoCo order (w first) and normalise it.

    Raises:
        ValueError: It is not a rotation: not finite, or of length zero.
    """
    norm = math.sqrt(float(quaternion @ quaternion))
    if not math.isfinite(norm) or norm < 1e-6:
        raise ValueError(f"Orientation {quaternion.tolist()} is not a quaternion (x, y, z, w).")
    reordered: Array = quaternion[_TO_WXYZ] / norm
    return reordered


@dataclass(frozen=True, kw_only=True)
class Pose:
    """A pose in the base frame; quaternion (x, y, z, w)."""

    position_m: Array
    quaternion_xyzw: Array


class ArmKinematics:
    """The arm without objects: every query is a pure function of the joint angles."""

    def __init__(self) -> None:
        self._model = build_model(None)
        self._data = mujoco.MjData(self._model)
        self._tcp = self._model.site("tcp").id
        ranges = self._model.jnt_range[:7]
        self.lower: Array = ranges[:, 0].copy()
        self.upper: Array = ranges[:, 1].copy()
        self._lowest = self.lower + LIMIT_MARGIN_RAD
        self._highest = self.upper - LIMIT_MARGIN_RAD
        self._jacobian = np.zeros((6, self._model.nv))
        self._quaternion = np.zeros(4)
        self._error_quaternion = np.zeros(4)
        self._error = np.zeros(6)

    def forward(self, q: Array) -> Pose:
        """Pose of the tool centre point (panda_hand_tcp) at the joint angles q (7,) in rad."""
        self._place(q)
        mujoco.mju_mat2Quat(self._quaternion, self._data.site_xmat[self._tcp])
        return Pose(
            position_m=self._data.site_xpos[self._tcp].copy(),
            quaternion_xyzw=xyzw_from_wxyz(self._quaternion),
        )

    def position(self, q: Array) -> Array:
        """Position of the tool centre point (3,) at the joint angles q (7,) in rad."""
        self._data.qpos[:7] = q
        mujoco.mj_kinematics(self._model, self._data)
        position: Array = self._data.site_xpos[self._tcp].copy()
        return position

    def inverse(
        self,
        position_m: Array,
        quaternion_xyzw: Array,
        *,
        start: Array,
        iterations: int = 4,
        tolerance: float = 1e-4,
    ) -> Array:
        """Joint angles whose tool centre point comes closest to a pose, by damped least squares.

        Args:
            position_m: Wanted position (3,), base frame.
            quaternion_xyzw: Wanted orientation (4,).
            start: Joint angles to start from (7,), rad.
            iterations: Newton steps at most; 4 follow a moving target, 200 find a far one.
            tolerance: Stop below this error (m and rad together).

        Returns:
            Joint angles (7,) inside the limits; an unreachable pose gives a near one.
        """
        target = wxyz_from_xyzw(quaternion_xyzw)
        q = start.copy()
        for _ in range(iterations):
            self._place(q)
            error = self._pose_error(position_m, target)
            mujoco.mj_jacSite(
                self._model, self._data, self._jacobian[:3], self._jacobian[3:], self._tcp
            )
            jacobian = self._jacobian[:, :7]
            gram = jacobian @ jacobian.T
            # Damping grows towards a singularity (Nakamura and Hanafusa 1986): exact in the
            # workspace, calm where a target out of reach stretches the arm.
            weakest = float(np.linalg.eigvalsh(gram)[0]) / WELL_CONDITIONED**2
            damped = gram + (1e-6 + 2e-3 * max(0.0, 1.0 - weakest)) * IDENTITY
            posture = 0.05 * (Q_NOMINAL - q)
            # The posture acts in the null space only: J (I - J^+ J) p = 0.
            step = posture + jacobian.T @ np.linalg.solve(damped, error - jacobian @ posture)
            q = np.minimum(np.maximum(q + step, self._lowest), self._highest)
            if float(error @ error) < tolerance**2:
                break
        return q

    def _place(self, q: Array) -> None:
        self._data.qpos[:7] = q
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)

    def _pose_error(self, position_m: Array, target_wxyz: Array) -> Array:
        """Position and rotation-vector error (6,), each capped so that one step stays local."""
        position = position_m - self._data.site_xpos[self._tcp]
        mujoco.mju_mat2Quat(self._quaternion, self._data.site_xmat[self._tcp])
        self._quaternion[1:] *= -1.0
        mujoco.mju_mulQuat(self._error_quaternion, target_wxyz, self._quaternion)
        mujoco.mju_quat2Vel(self._error[3:], self._error_quaternion, 1.0)
        distance_m = math.sqrt(float(position @ position))
        self._error[:3] = position * min(1.0, 0.1 / max(distance_m, 1e-9))
        turn_rad = math.sqrt(float(self._error[3:] @ self._error[3:]))
        self._error[3:] *= min(1.0, 0.5 / max(turn_rad, 1e-9))
        return self._error
