"""The arm's controller: from a target pose per control period to actuators at the physics rate."""

import math

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.sim.engine import mujoco
from tmrl_ros.sim.kinematics import (
    IDENTITY,
    Q_NOMINAL,
    VELOCITY_LIMITS,
    ArmKinematics,
    Pose,
    xyzw_from_wxyz,
)

Array = NDArray[np.float64]

SPEED_FRACTION = 0.9
"""Share of the joint velocity limits that a reference may use."""
MAX_SPEED_M_S = 0.7
ACCELERATION_M_S2 = 10.0
BRAKING_M_S2 = 5.0
"""Bounds of the reference's motion. A target that keeps them is where the reference is one period
later; one that jumps is approached at `MAX_SPEED_M_S` and without running past it."""
GRIPPER_SPEED_M_S = 0.10
"""Width per second; a Franka Hand moves each finger at up to 50 mm/s."""
GRIPPER_OPEN_M = 0.08
FEEDFORWARD = 0.5
"""Share of the servos' damping lag that the reference's own velocity makes up for. All of it would
turn every corner of a 20 Hz reference into a jerk."""
PRESSING_LIMIT_N = 35.0
"""Contact force at which the set point gives way, as an impedance controller's error clip does."""
CONTACT_TORQUE_NM = 5.0
"""Contact torque on any joint below which no force is looked for."""
WRENCH_FILTER = 0.4
"""Share of a control period's wrench that enters the filtered one: about 0.1 s at 20 Hz."""
RAMPS_PER_PERIOD = 5
"""Set points per control period; the actuators' own filter smooths between them at every step."""
_FULL_STATE = mujoco.mjtState.mjSTATE_INTEGRATION.value


class ArmDriver:
    """Tracks target poses with joint position servos that behave as springs.

    The reference is found by inverse kinematics once per control period and ramped linearly over
    it. Servo stiffness gives the compliance, servo limits the largest force (assets/panda).
    """

    def __init__(
        self, model: mujoco.MjModel, data: mujoco.MjData, *, control_period_s: float
    ) -> None:
        self._model, self._data = model, data
        self._kinematics = ArmKinematics()
        self._period_s = control_period_s
        self._steps_per_ramp = round(control_period_s / model.opt.timestep / RAMPS_PER_PERIOD)
        self._tcp = model.site("tcp").id
        self._q_reference = Q_NOMINAL.copy()
        self._velocity = np.zeros(3)
        self._width_reference_m = GRIPPER_OPEN_M
        # A position servo lags kv / kp seconds behind a steady motion.
        lag_s = -model.actuator_biasprm[:7, 2] / model.actuator_gainprm[:7, 0]
        self._lead: Array = FEEDFORWARD * lag_s / control_period_s
        self._jacobian = np.zeros((6, model.nv))
        self._wrench = np.zeros(6)

    @property
    def gripper_width_m(self) -> float:
        """Opening between the finger pads."""
        return float(self._data.qpos[7] + self._data.qpos[8])

    def solve_home(self, position_m: Array, quaternion_xyzw: Array) -> Array:
        """Joint angles of a home pose.

        Raises:
            ValueError: The pose is out of reach.
        """
        q = self._kinematics.inverse(
            position_m, quaternion_xyzw, start=Q_NOMINAL, iterations=300, tolerance=1e-7
        )
        miss_m = float(np.linalg.norm(self._kinematics.forward(q).position_m - position_m))
        if miss_m > 1e-3:
            raise ValueError(
                f"Home position {position_m.tolist()} is out of the arm's reach by {miss_m:.3f} m."
            )
        return q

    def place_at(self, q: Array) -> None:
        """Put the arm at rest at joint angles (7,), servos included."""
        self._data.qpos[:7] = q
        self._data.qvel[:] = 0.0
        self._data.act[:7] = q
        self._data.ctrl[:7] = q
        self._q_reference = q.copy()
        self._velocity = np.zeros(3)
        self._wrench = np.zeros(6)

    def open_gripper_by_hand(self) -> None:
        """Open the fingers at once, as a person freeing an object does."""
        self._data.qpos[7:9] = GRIPPER_OPEN_M / 2
        self._data.qvel[7:9] = 0.0
        self._width_reference_m = GRIPPER_OPEN_M
        self._data.ctrl[7] = GRIPPER_OPEN_M / 2

    def track(self, position_m: Array, quaternion_xyzw: Array, width_m: float) -> None:
        """Advance one control period towards a target."""
        here = self._kinematics.position(self._q_reference)
        here_to_there = position_m - here
        distance_m = math.sqrt(float(here_to_there @ here_to_there))
        speed = min(
            MAX_SPEED_M_S,
            distance_m / self._period_s,
            math.sqrt(2.0 * BRAKING_M_S2 * distance_m),
        )
        change = here_to_there * (speed / max(distance_m, 1e-9)) - self._velocity
        largest = ACCELERATION_M_S2 * self._period_s
        change *= min(1.0, largest / max(math.sqrt(float(change @ change)), 1e-9))
        self._velocity = self._velocity + change
        wanted = self._kinematics.inverse(
            here + self._period_s * self._velocity,
            quaternion_xyzw,
            start=self._q_reference,
            iterations=2,
        )
        move = wanted - self._q_reference
        allowed = SPEED_FRACTION * VELOCITY_LIMITS * self._period_s
        # One factor for all joints keeps the direction of the motion.
        move /= max(1.0, float(np.max(np.abs(move) / allowed)))
        start, start_width_m = self._q_reference, self._width_reference_m
        self._q_reference = start + move
        widen = np.clip(width_m, 0.0, GRIPPER_OPEN_M) - start_width_m
        widest = GRIPPER_SPEED_M_S * self._period_s
        self._width_reference_m = start_width_m + float(np.clip(widen, -widest, widest))
        for ramp in range(1, RAMPS_PER_PERIOD + 1):
            share = ramp / RAMPS_PER_PERIOD
            left = RAMPS_PER_PERIOD - ramp
            self._data.ctrl[:7] = start + (share + self._lead) * move
            self._data.ctrl[7] = 0.5 * (
                start_width_m + share * (self._width_reference_m - start_width_m)
            )
            mujoco.mj_step(self._model, self._data, self._steps_per_ramp)
            if self._give_way():
                mujoco.mj_step(self._model, self._data, left * self._steps_per_ramp)
                break
        self._wrench += WRENCH_FILTER * (self.twist_and_wrench()[1] - self._wrench)
        # mj_step leaves body poses one physics step behind the joints.
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)

    def _give_way(self) -> bool:
        """Pull the set point towards the measured joints while the arm presses too hard."""
        if float(np.max(np.abs(self._data.qfrc_constraint[:7]))) < CONTACT_TORQUE_NM:
            return False
        force_n = float(np.linalg.norm(self.twist_and_wrench()[1][:3]))
        if force_n < PRESSING_LIMIT_N:
            return False
        q = self._data.qpos[:7]
        self._q_reference = q + (PRESSING_LIMIT_N / force_n) * (self._data.ctrl[:7] - q)
        self._data.ctrl[:7] = self._q_reference
        self._velocity = np.zeros(3)
        return True

    @property
    def filtered_wrench(self) -> Array:
        """The external wrench (6,) through a low-pass filter, as an arm's own estimate has one.

        An impact of a few milliseconds hardly shows in it; pressing does.
        """
        return self._wrench.copy()

    def measured_pose(self) -> Pose:
        """Pose of the tool centre point."""
        quaternion = np.zeros(4)
        mujoco.mju_mat2Quat(quaternion, self._data.site_xmat[self._tcp])
        return Pose(
            position_m=self._data.site_xpos[self._tcp].copy(),
            quaternion_xyzw=xyzw_from_wxyz(quaternion),
        )

    def twist_and_wrench(self) -> tuple[Array, Array]:
        """Velocity of the tool centre point (6,) and the wrench acting on it (6,).

        The wrench is estimated as the robot itself does it: the least-squares solution of
        J^T F = tau over the joint torques that contacts cause.
        """
        mujoco.mj_jacSite(
            self._model, self._data, self._jacobian[:3], self._jacobian[3:], self._tcp
        )
        jacobian = self._jacobian[:, :7]
        torque = self._data.qfrc_constraint[:7]
        # Damped, so that a posture near a singularity gives no absurd force.
        wrench = np.linalg.solve(jacobian @ jacobian.T + 1e-4 * IDENTITY, jacobian @ torque)
        return jacobian @ self._data.qvel[:7], wrench

    def snapshot(self) -> tuple[Array, ...]:
        """Everything the next step depends on."""
        state = np.zeros(mujoco.mj_stateSize(self._model, _FULL_STATE))
        mujoco.mj_getState(self._model, self._data, state, _FULL_STATE)
        width = np.array([self._width_reference_m])
        return state, self._q_reference, self._velocity, width, self._wrench.copy()

    def restore(self, snapshot: tuple[Array, ...]) -> None:
        """Go back to a snapshot."""
        state, self._q_reference, self._velocity, width, wrench = snapshot
        self._wrench = wrench.copy()
        self._width_reference_m = float(width[0])
        mujoco.mj_setState(self._model, self._data, state, _FULL_STATE)
        mujoco.mj_forward(self._model, self._data)
