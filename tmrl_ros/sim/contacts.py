"""What is where in the simulated scene, and who touches whom."""

from dataclasses import dataclass

from tmrl_ros.sim.engine import mujoco
from tmrl_ros.sim.tasks import SceneView, TaskScene

_ARM_CONTYPE = 2


@dataclass(frozen=True, kw_only=True)
class ScenePhysics:
    """The scene as the task sees it, and what the arm touches beside.

    Attributes:
        scene: What the task judges.
        blocked: Objects in contact with any part of the arm.
    """

    scene: SceneView
    blocked: frozenset[str]


class SceneObserver:
    """Reads the scene out of the physics; looks all names up once."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, task: TaskScene) -> None:
        self._data = data
        self._bodies = {item.name: model.body(item.name).id for item in task.objects}
        self._velocities = {
            item.name: int(model.joint(item.name).dofadr[0]) for item in task.objects
        }
        self._object_of_geom = {model.geom(name).id: name for name in self._bodies}
        self._pads = {model.geom("left_pad").id, model.geom("right_pad").id}
        self._arm_geoms = {
            geom for geom in range(model.ngeom) if model.geom_contype[geom] == _ARM_CONTYPE
        }
        self._tcp = model.site("tcp").id

    def look(self) -> ScenePhysics:
        """Collect positions, speeds and contacts as of the last physics step."""
        touched_by: dict[str, set[int]] = {name: set() for name in self._bodies}
        for first, second in self._data.contact.geom.tolist():
            for geom, other in ((first, second), (second, first)):
                name = self._object_of_geom.get(geom)
                if name is not None and other in self._arm_geoms:
                    touched_by[name].add(other)
        speeds = {}
        for name, start in self._velocities.items():
            velocity = self._data.qvel[start : start + 3]
            speeds[name] = float(velocity @ velocity) ** 0.5
        return ScenePhysics(
            scene=SceneView(
                positions={name: self._data.xpos[i].copy() for name, i in self._bodies.items()},
                speeds=speeds,
                held=frozenset(n for n, geoms in touched_by.items() if self._pads <= geoms),
                touched=frozenset(n for n, geoms in touched_by.items() if self._pads & geoms),
                ee_position_m=self._data.site_xpos[self._tcp].copy(),
            ),
            blocked=frozenset(name for name, geoms in touched_by.items() if geoms),
        )
