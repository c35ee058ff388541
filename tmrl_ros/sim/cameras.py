"""The simulated RGB-D cameras: intrinsics, poses, depth as a D435 gives it, frozen drivers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.sim.engine import mujoco
from tmrl_ros.sim.rendering import Depth, Image, Renderer, RendererName, make_renderer
from tmrl_ros.sim.scene import CAMERAS

Array = NDArray[np.float64]

DEPTH_RANGE_M = (0.08, 3.0)
"""Depth outside is reported as 0 (invalid)."""
NOISE_PER_M = 0.001
"""Standard deviation of depth is this times z^2: 1 mm at 1 m. Not calibrated on a real camera."""
EDGE_JUMP = 0.04
"""Relative depth change between neighbours above which stereo matching loses the pixel."""


@dataclass(frozen=True, kw_only=True)
class CameraModel:
    """Pinhole camera; optical frame: x right, y down, z forward.

    Attributes:
        width: Pixels.
        height: Pixels.
        K: Intrinsic matrix (3, 3); the centre of the first pixel is (0, 0).
        T_base_optical: Pose of the optical frame in the base frame (4, 4).
    """

    width: int
    height: int
    K: Array
    T_base_optical: Array

    def project(self, point_base: Array) -> tuple[float, float, float]:
        """Pixel column, row and depth (m) of a point (3,) in the base frame."""
        rotation, origin = self.T_base_optical[:3, :3], self.T_base_optical[:3, 3]
        x, y, z = self.K @ (rotation.T @ (point_base - origin))
        return float(x / z), float(y / z), float(z)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One RGB-D image.

    Attributes:
        color: RGB (H, W, 3).
        depth_mm: Distance along the optical axis (H, W); 0 where invalid.
        stamp_s: Simulation time of the image.
    """

    color: Image
    depth_mm: NDArray[np.uint16]
    stamp_s: float


def noisy_depth(depth_m: Depth, rng: np.random.Generator) -> Depth:
    """Depth (H, W) with z^2 noise and with holes along its edges; 0 stays 0."""
    noise = rng.standard_normal(depth_m.shape, dtype=np.float32)
    noisy = depth_m + np.float32(NOISE_PER_M) * noise * depth_m * depth_m
    edge = np.zeros(depth_m.shape, bool)
    across = np.abs(np.diff(depth_m, axis=1)) > EDGE_JUMP * depth_m[:, 1:]
    down = np.abs(np.diff(depth_m, axis=0)) > EDGE_JUMP * depth_m[1:]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    # The sign of the noise doubles as the coin that decides which edge pixels are lost.
    noisy[edge & (noise > 0.0)] = 0.0
    return noisy


class SimulatedCameras:
    """Both cameras of a cell; the renderer is opened by the first picture."""

    def __init__(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        *,
        renderer: RendererName,
        size: tuple[int, int],
        depth_noise: bool,
        seed: int,
    ) -> None:
        self._model, self._data = model, data
        self._renderer_name, self._size = renderer, size
        self._depth_noise, self._seed = depth_noise, seed
        self._renderer: Renderer | None = None
        self._frozen: dict[str, Frame] = {}

    @property
    def renderer_name(self) -> str:
        """The renderer in use, or the one asked for while none is open."""
        return self._renderer_name if self._renderer is None else self._renderer.name

    def render(self, name: str, *, step: int, stamp_s: float) -> Frame:
        """Take a picture; the noise depends on the seed, the camera and the step alone."""
        camera_id = self._camera_id(name)
        if name in self._frozen:
            return self._frozen[name]
        if self._renderer is None:
            self._renderer = make_renderer(self._renderer_name, self._model, self._size)
        color, depth_m = self._renderer.render(self._data, camera_id)
        if self._depth_noise:
            rng = np.random.Generator(np.random.SFC64([self._seed, camera_id, step]))
            depth_m = noisy_depth(depth_m, rng)
        valid = (depth_m >= DEPTH_RANGE_M[0]) & (depth_m <= DEPTH_RANGE_M[1])
        depth_mm = np.where(valid, depth_m * 1000.0 + 0.5, 0.0).astype(np.uint16)
        return Frame(color=color, depth_mm=depth_mm, stamp_s=stamp_s)

    def model_of(self, name: str) -> CameraModel:
        """Intrinsics and present pose."""
        camera_id = self._camera_id(name)
        width, height = self._size
        focal = height / 2 / np.tan(np.radians(self._model.cam_fovy[camera_id]) / 2)
        pose = np.eye(4)
        # MuJoCo's camera has y up and looks along -z.
        pose[:3, :3] = self._data.cam_xmat[camera_id].reshape(3, 3) * [1.0, -1.0, -1.0]
        pose[:3, 3] = self._data.cam_xpos[camera_id]
        intrinsics = np.array(
            [[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]]
        )
        return CameraModel(width=width, height=height, K=intrinsics, T_base_optical=pose)

    def freeze(self, name: str, *, step: int, stamp_s: float) -> None:
        """Repeat the picture of now from here on."""
        self._frozen[name] = self.render(name, step=step, stamp_s=stamp_s)

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _camera_id(self, name: str) -> int:
        if name not in CAMERAS:
            raise ValueError(f"Unknown camera '{name}'; the cell has: {', '.join(CAMERAS)}.")
        return int(self._model.camera(name).id)
