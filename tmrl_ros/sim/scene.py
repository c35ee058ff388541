"""The MuJoCo model of the cell: arm on a table, two cameras, the objects of a task."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tmrl_ros.sim.engine import mujoco
from tmrl_ros.sim.tasks import TaskScene

ARM_FILE = Path(__file__).parent / "assets" / "panda" / "panda.xml"
PHYSICS_DT_S = 0.002
"""Above 2.5 ms grasps slip: the pads' contact time constant needs two steps."""

OBJECT_MASS_KG = 0.05
TABLE_X_M = (-0.20, 1.00)
TABLE_Y_M = (-0.60, 0.60)
TABLE_THICKNESS_M = 0.04
FLOOR_Z_M = -0.75
Z_NEAR_M, Z_FAR_M = 0.02, 10.0


@dataclass(frozen=True, kw_only=True)
class CameraMount:
    """Where a camera sits: in `body`, looking from `position_m` at `target_m` (both in `body`).

    Attributes:
        body: Parent frame.
        position_m: Optical centre.
        target_m: A point on the optical axis.
        image_up: Direction that appears upwards in the image.
        fovy_deg: Vertical field of view; 42.5 is a D435's colour sensor.
    """

    body: str
    position_m: tuple[float, float, float]
    target_m: tuple[float, float, float]
    image_up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    fovy_deg: float = 42.5


CAMERAS = {
    "exterior": CameraMount(body="world", position_m=(1.12, 0.0, 0.55), target_m=(0.50, 0.0, 0.06)),
    "wrist": CameraMount(
        body="panda_hand",
        position_m=(0.08, 0.0, 0.035),
        target_m=(0.022, 0.0, 0.155),
        image_up=(1.0, 0.0, 0.0),
        fovy_deg=58.0,
    ),
}


def build_model(task: TaskScene | None, *, physics_dt_s: float = PHYSICS_DT_S) -> mujoco.MjModel:
    """Compile the cell.

    Args:
        task: Whose objects to place; None for the arm alone (kinematics).
        physics_dt_s: Integration step, at most 0.0025 s.

    Raises:
        ValueError: The step is too long for grasps to hold.
    """
    if not 0.0 < physics_dt_s <= 0.0025:
        raise ValueError(
            f"Physics step of {physics_dt_s} s: grasps hold only up to 0.0025 s; use 0.002 s."
        )
    spec = mujoco.MjSpec.from_file(str(ARM_FILE))
    spec.option.timestep = physics_dt_s
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0
    # Cubes at rest fall asleep, which halves the cost of a step. Their contacts with the table
    # and with each other then vanish from the contact list; those with the arm never do.
    spec.option.enableflags |= int(mujoco.mjtEnableBit.mjENBL_SLEEP)
    spec.stat.extent = 1.0
    spec.visual.map.znear, spec.visual.map.zfar = Z_NEAR_M, Z_FAR_M
    spec.visual.quality.shadowsize = 0
    spec.visual.quality.offsamples = 0
    spec.visual.headlight.ambient = [0.45, 0.45, 0.45]
    spec.visual.headlight.diffuse = [0.35, 0.35, 0.35]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    if task is not None:
        _add_room(spec)
        _add_objects(spec, task)
        _add_cameras(spec)
    return spec.compile()


def _add_room(spec: mujoco.MjSpec) -> None:
    world = spec.worldbody
    world.add_light(
        pos=[0.5, 0.8, 2.0],
        dir=[0.0, -0.35, -1.0],
        castshadow=False,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        diffuse=[0.35, 0.35, 0.35],
        specular=[0.0, 0.0, 0.0],
    )
    centre = [(TABLE_X_M[0] + TABLE_X_M[1]) / 2, (TABLE_Y_M[0] + TABLE_Y_M[1]) / 2]
    half = [(TABLE_X_M[1] - TABLE_X_M[0]) / 2, (TABLE_Y_M[1] - TABLE_Y_M[0]) / 2]
    world.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[*centre, -TABLE_THICKNESS_M / 2],
        size=[*half, TABLE_THICKNESS_M / 2],
        rgba=[0.55, 0.55, 0.56, 1.0],
        contype=1,
        conaffinity=3,
    )
    world.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        pos=[0.0, 0.0, FLOOR_Z_M],
        size=[4.0, 4.0, 0.1],
        rgba=[0.30, 0.30, 0.31, 1.0],
        contype=1,
        conaffinity=3,
    )


def _add_objects(spec: mujoco.MjSpec, task: TaskScene) -> None:
    for index, item in enumerate(task.objects):
        # Parked in a row far from the arm until the first reset places them.
        body = spec.worldbody.add_body(name=item.name, pos=[0.9, 0.1 * index, item.half_size_m])
        body.add_freejoint(name=item.name)
        body.add_geom(
            name=item.name,
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[item.half_size_m] * 3,
            mass=OBJECT_MASS_KG,
            rgba=[*item.color, 1.0],
            condim=3,
            friction=[1.0, 0.005, 0.0001],
            solref=[0.005, 1.0],
            solimp=[0.95, 0.99, 0.001, 0.5, 2.0],
            contype=1,
            conaffinity=3,
        )


def _add_cameras(spec: mujoco.MjSpec) -> None:
    for name, mount in CAMERAS.items():
        # MuJoCo cameras look along -z with y up in the image.
        backward = np.subtract(mount.position_m, mount.target_m)
        backward /= np.linalg.norm(backward)
        right = np.cross(mount.image_up, backward)
        right /= np.linalg.norm(right)
        up = np.cross(backward, right)
        body = spec.worldbody if mount.body == "world" else spec.body(mount.body)
        camera = body.add_camera(name=name, pos=list(mount.position_m), fovy=mount.fovy_deg)
        camera.alt.type = mujoco.mjtOrientation.mjORIENTATION_XYAXES
        camera.alt.xyaxes = [*right, *up]
