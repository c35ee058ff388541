"""Simulated episodes with labels from the truth and pictures as perception shrinks them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.types import Float32Array, FloatArray
from tmrl_ros.perception.images import shrink
from tmrl_ros.policies.onnx_backend import load_policy
from tmrl_ros.rewards.learned import faults
from tmrl_ros.rewards.learned.episodes import BoolArray, Frames, LabelledEpisode, Video
from tmrl_ros.rewards.learned.instructions import instructions
from tmrl_ros.sim import ActionNoise, GroundTruth, SimulatedCell, expert, task_named
from tmrl_ros.sim.tasks import LIFT_HEIGHT_M

STEPS_PER_FRAME = 8
"""Control steps between two decisions of the shipped policies: 0.4 s at 20 Hz."""

MIX: Mapping[str, float] = {
    "success": 0.12,
    "held_low": 0.14,
    "drop": 0.09,
    "miss": 0.07,
    "fumble": 0.06,
    "stall": 0.05,
    "wander": 0.22,
    "wander_empty": 0.05,
    "policy": 0.20,
}
"""Share of every kind of episode. `policy` is the base policy under exploration."""
LATE = 0.5
"""Share of scripted episodes that begin with moving about; at most for `LATEST` control steps."""
LATEST = 56
CEILINGS_M = (0.06, 0.10, 0.20, 0.40)
"""How high objects are carried about at most: along the table, up to the line, and far above it."""


@dataclass(frozen=True)
class _Labels:
    progress: Float32Array
    success: BoolArray


class EpisodeSimulator:
    """Makes labelled episodes of a simulated task, each from its seed alone.

    Args:
        config: Task, cameras, robot. `task.bundle` drives the policy's episodes.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._texts = instructions(config)
        camera = config.cameras.cameras[0]
        self._cell = SimulatedCell(
            task_named(config.task.name, wanted=config.task.wanted_object),
            renderer=config.robot.renderer,
            camera_size=(camera.width, camera.height),
            depth_noise=False,
        )
        self._cameras = tuple(item.name for item in config.cameras.cameras)
        self._policy = load_policy(config.task.bundle)[0]
        if self._policy.needs_pictures:
            raise OperatorError(
                f"{config.task.bundle} holds a policy that looks at "
                f"{self._policy.spec.observation.kind}: simulated episodes want one of named "
                "objects; name it with task.bundle=..."
            )

    def close(self) -> None:
        """Free the renderer."""
        self._cell.close()

    def episodes(
        self, count: int, seed: int, *, kind: str | None = None
    ) -> Iterator[list[LabelledEpisode]]:
        """Yield the episodes of one video at a time: one for every instruction.

        Args:
            count: Videos.
            seed: Together with the number of the video it decides everything.
            kind: One of `MIX`; drawn by its shares if None.
        """
        kinds, shares = list(MIX), np.array(list(MIX.values()))
        for number in range(count):
            rng = np.random.default_rng([seed, number])
            drawn = str(rng.choice(kinds, p=shares / shares.sum()))
            yield self.episode(kind or drawn, rng, f"{config_name(self._config)}-{seed}-{number}")

    def episode(self, kind: str, rng: np.random.Generator, name: str) -> list[LabelledEpisode]:
        """One video of a kind, judged against every instruction."""
        self._cell.reset_scene(int(rng.integers(2**31)), home_arm=True)
        frames, truths = self._record(self._driver(kind, rng), rng)
        video = Video(name, kind, np.stack(frames))
        return [
            LabelledEpisode(video, texts, labels.progress, labels.success)
            for wanted, texts in self._texts.items()
            for labels in [_labels(truths, wanted)]
        ]

    def _record(
        self, driver: faults.Driver, rng: np.random.Generator
    ) -> tuple[list[Frames], list[dict[str, GroundTruth]]]:
        """Drive one episode; a picture of every camera per decision."""
        frames, truths = [], []
        for decision in range(self._config.task.max_decisions + 1):
            if decision:
                # The first picture may find a scripted motion anywhere between two decisions.
                short = decision == 1 and not isinstance(driver, faults.RandomPolicy)
                for _ in range(int(rng.integers(1, 9)) if short else STEPS_PER_FRAME):
                    command = driver.act(self._cell.state(), self._cell.ground_truth())
                    self._cell.step(*command)
            frames.append(self._pictures())
            truths.append(self._truths())
        return frames, truths

    def _pictures(self) -> Frames:
        settings = self._config.cameras
        return np.stack(
            [
                shrink(self._cell.render(name).color, settings.image_width, settings.image_height)
                for name in self._cameras
            ]
        )

    def _truths(self) -> dict[str, GroundTruth]:
        """The truth if each object of the scene were the wanted one."""
        task, found = self._cell.task, {}
        for item in task.objects:
            self._cell.task = replace(task, wanted=item.name)
            found[item.name] = self._cell.ground_truth()
        self._cell.task = task
        return found

    def _driver(self, kind: str, rng: np.random.Generator) -> faults.Driver:
        names = [item.name for item in self._cell.task.objects]
        name = str(rng.choice(names))
        if kind == "policy":
            return self._random_policy(name, rng)
        noise = ActionNoise(
            sigma_m=float(rng.uniform(0.0, 0.012)), detour_m=float(rng.choice([0.0, 0.12]))
        )
        scripted = expert(self._cell.task, self._cell, target_object=name, rng=rng, noise=noise)
        makers: dict[str, Callable[[], faults.Driver]] = {
            "success": lambda: faults.Success(scripted),
            "held_low": lambda: faults.HeldLow(scripted, faults.too_low(rng)),
            "drop": lambda: faults.Drop(
                scripted,
                name,
                float(rng.uniform(0.01, LIFT_HEIGHT_M + 0.03)),
                rng.uniform([-0.08, -0.08, 0.0], [0.08, 0.08, 0.12]),
            ),
            "miss": lambda: faults.Miss(scripted, name, _beside(rng, 0.035, 0.08)),
            "fumble": lambda: faults.Miss(scripted, name, _beside(rng, 0.012, 0.03)),
            "stall": lambda: faults.Stall(faults.Success(scripted), int(rng.integers(2, 30))),
            "wander": lambda: faults.Wander(
                faults.Success(scripted), rng, float(rng.choice(CEILINGS_M))
            ),
            "wander_empty": lambda: faults.Wander(
                faults.Miss(scripted, name, _beside(rng, 0.035, 0.08)), rng, 0.2
            ),
        }
        driver = makers[kind]()
        late = rng.uniform() < LATE
        return faults.Late(driver, rng, int(rng.integers(4, LATEST))) if late else driver

    def _random_policy(self, wanted: str, rng: np.random.Generator) -> faults.Driver:
        safety = self._config.safety
        return faults.RandomPolicy(
            self._policy,
            str(rng.choice(self._texts[wanted])),
            rng,
            self._config.robot.gripper_max_width_m,
            np.array([safety.workspace_min_m, safety.workspace_max_m]),
        )


def config_name(config: Config) -> str:
    """What videos of a simulated task are called after."""
    return config.task.name


def _labels(truths: list[dict[str, GroundTruth]], wanted: str) -> _Labels:
    """Progress and success per frame; zeros where the wanted object is not in the scene."""
    seen = [moment.get(wanted) for moment in truths]
    progress = np.array([0.0 if item is None else item.progress for item in seen], np.float32)
    success = np.array([item is not None and item.success for item in seen])
    return _Labels(progress, success)


def _beside(rng: np.random.Generator, low_m: float, high_m: float) -> FloatArray:
    """A horizontal offset (3,) of random direction and length."""
    angle, length = rng.uniform(-np.pi, np.pi), rng.uniform(low_m, high_m)
    return np.array([length * np.cos(angle), length * np.sin(angle), 0.0])
