"""Renderers of the simulated cameras: OpenGL off screen (EGL, OSMesa), or rays without OpenGL."""

import ctypes.util
import importlib
import os
import sys
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.sim.engine import REQUESTED_GL, mujoco
from tmrl_ros.sim.scene import Z_FAR_M, Z_NEAR_M

RendererName = Literal["auto", "egl", "osmesa", "ray"]
Image = NDArray[np.uint8]
Depth = NDArray[np.float32]

_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}


class RendererUnavailableError(RuntimeError):
    """This machine lacks what the chosen renderer needs."""


class Renderer(Protocol):
    """Turns the state of a simulation into colour and depth."""

    name: str

    def render(self, data: mujoco.MjData, camera_id: int) -> tuple[Image, Depth]:
        """Colour (H, W, 3) and distance along the optical axis in metres (H, W), 0 for nothing."""

    def close(self) -> None:
        """Free what it holds."""


def make_renderer(name: RendererName, model: mujoco.MjModel, size: tuple[int, int]) -> Renderer:
    """Open a renderer.

    Args:
        name: Which one; "auto" honours `MUJOCO_GL`, then tries EGL, OSMesa, rays.
        model: What to render.
        size: Width and height in pixels.

    Raises:
        ValueError: Unknown name.
        RendererUnavailableError: It does not work here. Never with "auto" or "ray".
    """
    if name not in get_args(RendererName):
        raise ValueError(
            f"Unknown renderer '{name}'; choose one of: {', '.join(get_args(RendererName))}."
        )
    if name == "ray":
        return RayRenderer(model, size)
    if name != "auto":
        return GlRenderer(name, model, size)
    candidates = ["egl", "osmesa"]
    if REQUESTED_GL in candidates:
        candidates.sort(key=lambda candidate: candidate != REQUESTED_GL)
    for candidate in candidates:
        try:
            return GlRenderer(candidate, model, size)
        except RendererUnavailableError:
            continue
    return RayRenderer(model, size)


def _open_context(backend: str, size: tuple[int, int]) -> Any:
    """Make an OpenGL context; whatever goes wrong is one kind of error."""
    advice = "choose renderer='ray', which needs no OpenGL"
    if ctypes.util.find_library(_LIBRARIES[backend]) is None:
        raise RendererUnavailableError(
            f"Renderer '{backend}': no lib{_LIBRARIES[backend]} on this machine; {advice}."
        )
    platform = os.environ.get("PYOPENGL_PLATFORM")
    try:
        module = importlib.import_module(f"mujoco.{backend}")
        context = module.GLContext(*size)
        context.make_current()
    except Exception as error:  # PyOpenGL raises anything, AttributeError included.
        if platform is None:
            # PyOpenGL binds its platform at import: leave nothing behind for the next backend.
            os.environ.pop("PYOPENGL_PLATFORM", None)
            for loaded in [key for key in sys.modules if key.split(".")[0] == "OpenGL"]:
                del sys.modules[loaded]
        raise RendererUnavailableError(
            f"Renderer '{backend}' does not start ({type(error).__name__}: {error}); {advice}."
        ) from error
    return context


class GlRenderer:
    """Colour and depth from one OpenGL pass. Belongs to the thread that renders."""

    def __init__(self, backend: str, model: mujoco.MjModel, size: tuple[int, int]) -> None:
        self.name = backend
        width, height = size
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        self._model = model
        self._gl: Any = _open_context(backend, size)
        self._scene = mujoco.MjvScene(model, maxgeom=200)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._context: Any = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        # Reversed depth keeps float precision where the scene is, not at the lens.
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._color = np.empty((height, width, 3), np.uint8)
        self._depth = np.empty((height, width), np.float32)

    def render(self, data: mujoco.MjData, camera_id: int) -> tuple[Image, Depth]:
        """See `Renderer.render`."""
        if self._gl is None:
            raise RuntimeError("This renderer is closed.")
        self._gl.make_current()
        self._camera.fixedcamid = camera_id
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._option,
            None,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL.value,
            self._scene,
        )
        mujoco.mjr_render(self._rectangle, self._scene, self._context)
        mujoco.mjr_readPixels(self._color, self._depth, self._rectangle, self._context)
        # Reversed buffer b in [0, 1] is z = n f / (n + b (f - n)); b = 0 where nothing was drawn.
        depth = (Z_NEAR_M * Z_FAR_M) / (Z_NEAR_M + self._depth * (Z_FAR_M - Z_NEAR_M))
        depth[self._depth <= 0.0] = 0.0
        return self._color[::-1].copy(), depth[::-1].astype(np.float32)

    def close(self) -> None:
        """Free the context."""
        if self._gl is not None:
            self._gl.make_current()
            self._context.free()
            self._gl.free()
            self._gl = self._context = None


class RayRenderer:
    """One ray per pixel, coloured by geom with the headlight's shading. Slow, and runs anywhere."""

    name = "ray"

    def __init__(self, model: mujoco.MjModel, size: tuple[int, int]) -> None:
        self._model = model
        self._size = size
        self._groups = np.array([1, 1, 1, 0, 0, 0], np.uint8)
        count = size[0] * size[1]
        self._geom = np.empty(count, np.int32)
        self._distance = np.empty(count)
        self._normal = np.empty(3 * count)
        self._colors = (255.0 * model.geom_rgba[:, :3]).astype(np.float32)

    def render(self, data: mujoco.MjData, camera_id: int) -> tuple[Image, Depth]:
        """See `Renderer.render`."""
        width, height = self._size
        focal = height / 2 / np.tan(np.radians(self._model.cam_fovy[camera_id]) / 2)
        column, row = np.meshgrid(np.arange(width), np.arange(height))
        # Not normalised: with z = 1 along the optical axis the ray length is the z-depth.
        rays = (
            np.stack(
                [
                    (column - (width - 1) / 2) / focal,
                    -(row - (height - 1) / 2) / focal,
                    np.full((height, width), -1.0),
                ],
                axis=-1,
            ).reshape(-1, 3)
            @ data.cam_xmat[camera_id].reshape(3, 3).T
        )
        mujoco.mj_multiRay(
            self._model,
            data,
            data.cam_xpos[camera_id],
            rays.ravel(),
            self._groups,
            1,
            -1,
            self._geom,
            self._distance,
            self._normal,
            len(rays),
            Z_FAR_M,
        )
        hit = self._geom >= 0
        cosine = -np.einsum("ij,ij->i", self._normal.reshape(-1, 3), rays)
        cosine /= np.linalg.norm(rays, axis=1)
        shade = 0.6 + 0.4 * np.clip(cosine, 0.0, 1.0)
        color = np.zeros((len(rays), 3), np.uint8)
        color[hit] = self._colors[self._geom[hit]] * shade[hit, None]
        depth = np.where(hit, self._distance, 0.0).astype(np.float32)
        return color.reshape(height, width, 3), depth.reshape(height, width)

    def close(self) -> None:
        """Nothing is held."""
