"""A simulated Franka on a table: the physics, the state and the truth of one robot cell.

One `step` is one control period of a Cartesian impedance controller that tracks a target pose.
Everything is in the base frame (panda_link0, table surface at z = 0), in SI units. One cell
belongs to one thread.
"""

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.sim.arm import ArmDriver
from tmrl_ros.sim.cameras import CameraModel, Frame, SimulatedCameras
from tmrl_ros.sim.contacts import SceneObserver
from tmrl_ros.sim.engine import mujoco
from tmrl_ros.sim.readings import CellState, GroundTruth
from tmrl_ros.sim.rendering import RendererName
from tmrl_ros.sim.scene import build_model
from tmrl_ros.sim.tasks import RegionName, TaskScene, task_named

Array = NDArray[np.float64]

CONTROL_PERIOD_S = 0.05


class SceneBlockedError(RuntimeError):
    """The arm stands where an object was to be placed."""


class SimulatedCell:
    """Arm, table, objects and cameras of one task.

    Args:
        task: A task's name, or a task scene.
        renderer: "egl", "osmesa", "ray" (no OpenGL), or "auto" for the first that works. Nothing
            of it is loaded before the first `render`.
        camera_size: Width and height of both cameras, pixels.
        depth_noise: Whether depth has a D435-like noise and holes.
        seed: Seed of the depth noise and of the first object placement.

    Raises:
        ValueError: Unknown task.
    """

    control_period_s = CONTROL_PERIOD_S

    def __init__(
        self,
        task: str | TaskScene,
        *,
        renderer: RendererName = "auto",
        camera_size: tuple[int, int] = (424, 240),
        depth_noise: bool = True,
        seed: int = 0,
    ) -> None:
        self.task = task_named(task) if isinstance(task, str) else task
        self._model = build_model(self.task)
        self._data = mujoco.MjData(self._model)
        self._arm = ArmDriver(self._model, self._data, control_period_s=CONTROL_PERIOD_S)
        self._observer = SceneObserver(self._model, self._data, self.task)
        self._steps = 0
        self._home_q = self._arm.solve_home(
            np.array(self.task.home_position_m), np.array(self.task.home_quaternion_xyzw)
        )
        self._cameras = SimulatedCameras(
            self._model,
            self._data,
            renderer=renderer,
            size=camera_size,
            depth_noise=depth_noise,
            seed=seed,
        )
        self.reset_scene(seed, home_arm=True)

    @property
    def time_s(self) -> float:
        """Simulation time; resets do not turn it back."""
        return self._steps * self.control_period_s

    def reset_scene(
        self, seed: int, *, region: RegionName = "start", home_arm: bool = False
    ) -> None:
        """Let a person put the objects back, as the seed says.

        The gripper is opened. The placement depends on the seed and region alone.

        Args:
            seed: Decides where the objects go.
            region: Which of the task's regions they go to.
            home_arm: Also put the arm at the task's home pose, at rest. Otherwise it stays where
                it is.

        Raises:
            SceneBlockedError: The arm is in the way; nothing was moved.
            ValueError: The task has no such region; nothing was moved.
        """
        rng = np.random.default_rng(seed)
        places = []
        for item in self.task.objects:
            yaw = rng.uniform(-item.yaw_range_rad, item.yaw_range_rad)
            places.append((item, yaw, item.place(region, rng)))
        before = self._arm.snapshot()
        if home_arm:
            mujoco.mj_resetData(self._model, self._data)
            self._arm.place_at(self._home_q)
        self._arm.open_gripper_by_hand()
        for item, yaw, where in places:
            joint = self._data.joint(item.name)
            joint.qpos[:] = (
                *where,
                item.half_size_m,
                np.cos(yaw / 2),
                0.0,
                0.0,
                np.sin(yaw / 2),
            )
            joint.qvel[:] = 0.0
        mujoco.mj_forward(self._model, self._data)
        view = self._observer.look()
        if view.blocked:
            self._arm.restore(before)
            raise SceneBlockedError(
                f"The arm stands where '{sorted(view.blocked)[0]}' was to be placed (seed {seed}); "
                "move the arm home first, or reset with home_arm=True."
            )

    def step(self, position_m: Array, quaternion_xyzw: Array, gripper_width_m: float) -> None:
        """Track a target for exactly one control period.

        A target beyond reach or too far to arrive in one period is approached at the joint
        velocity limits.

        Args:
            position_m: Target of the tool centre point (3,), base frame.
            quaternion_xyzw: Target orientation (4,).
            gripper_width_m: Target opening, clipped to [0, 0.08].

        Raises:
            ValueError: A number is not finite, or the quaternion is no rotation.
        """
        position_m = np.asarray(position_m, dtype=np.float64)
        quaternion_xyzw = np.asarray(quaternion_xyzw, dtype=np.float64)
        if not (np.isfinite(position_m).all() and np.isfinite(gripper_width_m)):
            raise ValueError(
                f"Target position {position_m.tolist()}, gripper {gripper_width_m}: not finite."
            )
        self._arm.track(position_m, quaternion_xyzw, gripper_width_m)
        self._steps += 1

    def state(self) -> CellState:
        """Measure the robot."""
        arm, data = self._arm, self._data
        pose = arm.measured_pose()
        twist, _ = arm.twist_and_wrench()
        return CellState(
            stamp_s=self.time_s,
            q=data.qpos[:7].copy(),
            dq=data.qvel[:7].copy(),
            tau=data.qfrc_actuator[:7] + data.qfrc_gravcomp[:7],
            ee_position_m=pose.position_m,
            ee_quaternion_xyzw=pose.quaternion_xyzw,
            ee_twist=twist,
            external_wrench=arm.filtered_wrench,
            gripper_width_m=arm.gripper_width_m,
        )

    def ground_truth(self) -> GroundTruth:
        """Judge the task and look up where everything is."""
        view = self._observer.look()
        verdict = self.task.evaluate(view.scene)
        return GroundTruth(
            success=verdict.success,
            failure=verdict.failure,
            progress=verdict.progress,
            object_positions=dict(view.scene.positions),
            held=view.scene.held,
        )

    def render(self, camera_name: str) -> Frame:
        """Take one colour and depth image.

        Raises:
            ValueError: Unknown camera.
            RendererUnavailableError: The chosen renderer does not work on this machine.
        """
        return self._cameras.render(camera_name, step=self._steps, stamp_s=self.time_s)

    def camera(self, camera_name: str) -> CameraModel:
        """Intrinsics and present pose of a camera."""
        return self._cameras.model_of(camera_name)

    def freeze_camera(self, camera_name: str) -> None:
        """Make a camera repeat its latest frame, stamp included, as a hung driver does."""
        self._cameras.freeze(camera_name, step=self._steps, stamp_s=self.time_s)

    def close(self) -> None:
        """Free the renderer; the physics needs no closing."""
        self._cameras.close()

    def __enter__(self) -> "SimulatedCell":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
