"""Who touches whom in the simulated scene."""

from dataclasses import dataclass

import numpy as np

from tmrl_ros.sim.engine import mujoco
from tmrl_ros.sim.tasks import SceneView, TaskScene

_ARM_CONTYPE = 2


@dataclass(frozen=True, kw_only=True)
class ScenePhysics:
    """The scene as the task sees it, and what the arm touches beside."""

    scene: SceneView
    blocked: frozenset[str]
    """Objects in contact with any part of the arm."""


def scene_view(model: mujoco.MjModel, data: mujoco.MjData, task: TaskScene) -> ScenePhysics:
    """Collect positions, speeds and contacts as of the last physics step."""
    names = [item.name for item in task.objects]
    object_of_geom = {model.geom(name).id: name for name in names}
    left, right = model.geom("left_pad").id, model.geom("right_pad").id
    touched_by: dict[str, set[int]] = {name: set() for name in names}
    touching: set[frozenset[str]] = set()
    for first, second in data.contact.geom.tolist():
        for geom, other in ((first, second), (second, first)):
            name = object_of_geom.get(geom)
            if name is None:
                continue
            if other in object_of_geom:
                touching.add(frozenset((name, object_of_geom[other])))
            elif model.geom_contype[other] == _ARM_CONTYPE:
                touched_by[name].add(other)
    return ScenePhysics(
        scene=SceneView(
            positions={name: data.body(name).xpos.copy() for name in names},
            speeds={name: float(np.linalg.norm(data.joint(name).qvel[:3])) for name in names},
            held=frozenset(name for name in names if {left, right} <= touched_by[name]),
            touched=frozenset(name for name in names if {left, right} & touched_by[name]),
            touching=frozenset(touching),
            ee_position_m=data.site("tcp").xpos.copy(),
        ),
        blocked=frozenset(name for name in names if touched_by[name]),
    )
