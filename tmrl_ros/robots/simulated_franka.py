"""The simulated Franka as a driver sees it: targets in, states and pictures out.

Knows no ROS; `nodes/sim_franka.py` is its shell. Faults can be injected for tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.types import (
    NANOSECONDS,
    FloatArray,
    Pose,
    RobotMode,
    RobotSample,
    Target,
)
from tmrl_ros.sim import GroundTruth, SimulatedCell, task_named

CAMERA_NAMES = ("exterior", "wrist")
ARM_JOINTS = tuple(f"panda_joint{number}" for number in range(1, 8))
FINGER_JOINTS = ("panda_finger_joint1", "panda_finger_joint2")
REFLEX_FAULT = "simulated_reflex"


@dataclass(frozen=True)
class Picture:
    """What one camera took.

    Attributes:
        camera: Its name.
        stamp_ns: Robot time.
        color: (h, w, 3) RGB.
        depth_mm: (h, w), aligned to colour, 0 where unknown.
        intrinsics: K (3, 3).
    """

    camera: str
    stamp_ns: int
    color: NDArray[np.uint8]
    depth_mm: NDArray[np.uint16]
    intrinsics: FloatArray


class SimulatedFranka:
    """Owns the simulated cell; time advances by one control period per `advance`.

    Args:
        config: Robot, task and cameras.

    Raises:
        ConfigurationError: The configuration asks for what the simulation does not have.
    """

    def __init__(self, config: Config) -> None:
        cameras, robot = config.cameras.cameras, config.robot
        self._check(config)
        try:
            task = task_named(config.task.name, wanted=config.task.wanted_object)
        except ValueError as error:
            raise ConfigurationError(f"task.name, task.wanted_object: {error}") from None
        try:
            for item in task.objects:
                item.place(config.task.region, np.random.default_rng(0))
        except ValueError as error:
            raise ConfigurationError(f"task.region={config.task.region}: {error}") from None
        self._cell = SimulatedCell(
            task,
            renderer=robot.renderer,
            camera_size=(cameras[0].width, cameras[0].height),
            depth_noise=robot.depth_noise,
            seed=config.session.seed,
        )
        self._cameras = tuple(camera.name for camera in cameras)
        self._base_frame, self._region = robot.base_frame, config.task.region
        self._open_m = robot.gripper_max_width_m
        self._reset_periods = max(1, round(config.task.scene_reset_s * robot.control_rate_hz))
        self._last_target: tuple[int, int] | None = None
        self._pictures: dict[str, Picture] = {}
        self._mode = RobotMode.MOVE
        self.frozen_camera = ""
        """Test only: this camera repeats its last picture, stamp included."""
        self.black_camera = ""
        """Test only: this camera sees nothing."""
        self.cameras_swapped = False
        """Test only: each of two cameras shows what the other sees."""
        self.clock_jump_ns = 0
        """Test only: the robot's clock is ahead by so much."""
        self._follow_measured()

    @property
    def stamp_ns(self) -> int:
        """Robot time."""
        return max(0, round(self._cell.time_s * NANOSECONDS) + self.clock_jump_ns)

    @property
    def tick(self) -> int:
        """Control periods since the start."""
        return round(self._cell.time_s / self._cell.control_period_s)

    @property
    def reset_periods(self) -> int:
        """Control periods that a simulated person takes to put the objects back."""
        return self._reset_periods

    @property
    def mode(self) -> RobotMode:
        """The arm follows only in MOVE; the others are for tests."""
        return self._mode

    @mode.setter
    def mode(self, mode: RobotMode) -> None:
        self._mode = mode
        # What was asked for before must not be followed when the arm may move again.
        self._follow_measured()

    def accept(self, target: Target) -> bool:
        """Take a target to follow from now on.

        Returns:
            False when it is a repetition, or the arm follows nothing.

        Raises:
            ValueError: The target is no pose; the last one stays.
        """
        position, quaternion = target.pose.position, target.pose.quaternion
        if not (
            np.isfinite(position).all()
            and np.isfinite(quaternion).all()
            and np.isfinite(target.gripper_width_m)
            and abs(float(np.linalg.norm(quaternion)) - 1.0) < 1e-2
        ):
            raise ValueError(
                f"Target {target.sequence} is ignored: position {position.tolist()}, quaternion "
                f"{quaternion.tolist()}, gripper {target.gripper_width_m} m is no pose."
            )
        if self._mode is not RobotMode.MOVE or self._last_target == (
            target.sequence,
            target.stamp_ns,
        ):
            return False
        self._last_target = (target.sequence, target.stamp_ns)
        self._goal, self._width_m = target.pose, target.gripper_width_m
        return True

    def advance(self) -> None:
        """Let one control period pass."""
        self._cell.step(self._goal.position, self._goal.quaternion, self._width_m)

    def place_objects(self, seed: int) -> None:
        """Put the objects where the seed says, at once; the gripper is opened.

        Raises:
            SceneBlockedError: The arm is in the way; nothing was moved.
        """
        self._cell.reset_scene(seed, region=self._region)
        self._pictures.clear()
        self._width_m = self._open_m

    def sample(self) -> RobotSample:
        """Measure the arm."""
        state = self._cell.state()
        return RobotSample(
            stamp_ns=self.stamp_ns,
            tick=self.tick,
            q=state.q,
            dq=state.dq,
            tau=state.tau,
            ee_pose=Pose(state.ee_position_m, state.ee_quaternion_xyzw),
            ee_twist=state.ee_twist,
            wrench=state.external_wrench,
            gripper_width_m=state.gripper_width_m,
            mode=self._mode,
            faults=(REFLEX_FAULT,) if self._mode is RobotMode.REFLEX else (),
            frame_id=self._base_frame,
            joint_names=ARM_JOINTS,
        )

    def ground_truth(self) -> GroundTruth:
        """What only the simulation knows, of this instant."""
        return self._cell.ground_truth()

    def take_pictures(self) -> list[Picture]:
        """One picture per configured camera of this instant."""
        return [self._picture(name) for name in self._cameras]

    def close(self) -> None:
        """Free the renderer."""
        self._cell.close()

    def _picture(self, name: str) -> Picture:
        last = self._pictures.get(name)
        if last is not None and (last.stamp_ns == self.stamp_ns or name == self.frozen_camera):
            return last
        seen_by = name
        if self.cameras_swapped:
            seen_by = self._cameras[-1 - self._cameras.index(name)]
        frame = self._cell.render(seen_by)
        if name == self.black_camera:
            frame.color[:] = 0
            frame.depth_mm[:] = 0
        intrinsics = self._cell.camera(name).K
        picture = Picture(name, self.stamp_ns, frame.color, frame.depth_mm, intrinsics)
        self._pictures[name] = picture
        return picture

    def _follow_measured(self) -> None:
        state = self._cell.state()
        self._goal = Pose(state.ee_position_m, state.ee_quaternion_xyzw)
        self._width_m = state.gripper_width_m

    @staticmethod
    def _check(config: Config) -> None:
        cameras, rate_hz = config.cameras.cameras, config.robot.control_rate_hz
        simulated_hz = 1.0 / SimulatedCell.control_period_s
        if abs(rate_hz - simulated_hz) > 1e-6:
            raise ConfigurationError(
                f"robot.control_rate_hz={rate_hz:g}: the simulated arm runs at {simulated_hz:g} Hz."
            )
        for camera in cameras:
            if camera.name not in CAMERA_NAMES:
                raise ConfigurationError(
                    f"cameras: there is no simulated camera {camera.name!r}, only "
                    f"{' and '.join(CAMERA_NAMES)}."
                )
            if (camera.width, camera.height) != (cameras[0].width, cameras[0].height):
                raise ConfigurationError(
                    f"cameras: {camera.name} is {camera.width}x{camera.height} and "
                    f"{cameras[0].name} is {cameras[0].width}x{cameras[0].height}; simulated "
                    "cameras are of one size."
                )
