"""OGBench environments in place of the simulated Franka: demonstrations, policies and episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from ogbench_scenes import SCENES, PointMaze, Scene, Track
from rig import Rig

from tmrl_ros.core.config import Config, ObjectConfig, TaskConfig
from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import (
    Chunk,
    ChunkResult,
    EpisodeOutcome,
    FloatArray,
    Outcome,
    Pose,
    RobotSample,
    Target,
)
from tmrl_ros.data.dataset import Demonstration, Trajectory
from tmrl_ros.policies.bundle import (
    ActionSpec,
    ContextSmoothing,
    NetworkSpec,
    ObservationSpec,
    PolicySpec,
    TrainingRecord,
    save_bundle,
)
from tmrl_ros.policies.context import ContextSpec
from tmrl_ros.policies.demonstrations import normalisation, training_data
from tmrl_ros.policies.policy import ChunkPolicy, encode_steps
from tmrl_ros.policies.training import TrainingSettings, train_flow
from tmrl_ros.sim.readings import GroundTruth
from tmrl_ros.sim.tasks import RegionName

FLOW_STEPS = 4  # half of the simulated Franka's: most of a trial's time goes into candidates


@dataclass(frozen=True)
class Problem:
    """How an environment is put to the learner.

    Attributes:
        horizon: Control steps per chunk, all of which are carried out.
        smoothed: Parts of the context that are smoothed in pre-training.
        demonstrations: Number of them.
        workspace_m: Lowest and highest tool position of candidates.
        settings: Overrides of the configuration, for every method.
    """

    horizon: int
    smoothed: tuple[str, ...]
    demonstrations: int
    workspace_m: tuple[tuple[float, float, float], tuple[float, float, float]]
    settings: tuple[str, ...] = ()


PROBLEMS = {
    "pointmaze-giant": Problem(
        horizon=20,
        smoothed=("objects", "state"),
        demonstrations=400,
        workspace_m=((-1.0, -1.0, -1.0), (2.0, 1.0, 1.0)),
        settings=("method.shift_m=0",),  # walls are where they are
    ),
    "cube-single": Problem(
        horizon=8,
        smoothed=("objects",),
        demonstrations=300,
        workspace_m=((0.245, -0.355, 0.015), (0.605, 0.355, 0.355)),
    ),
}


def demonstrator(name: str) -> Callable[[int], Track | None]:
    """Who demonstrates: in another maze, or where the cube is near the arm's base."""
    return (
        PointMaze("large").demonstrate if name == "pointmaze-giant" else SCENES[name]().demonstrate
    )


def configuration(name: str, overrides: list[str]) -> Config:
    """Configuration of a run; of the simulated Franka's only method and session have a meaning."""
    problem, scene = PROBLEMS[name], SCENES[name]
    config = load_config([*problem.settings, *overrides])
    task = TaskConfig(
        name=name.replace("-", "_"),
        prompt=name,
        wanted_object=scene.names[0],
        objects=[ObjectConfig(name=item, hue_deg=0) for item in scene.names],
        home_position_m=list(problem.workspace_m[0]),
        max_decisions=scene.max_steps // problem.horizon,
        bundle=Path(name),
        scene_reset_s=0.0,
    )
    low, high = map(list, problem.workspace_m)
    return config.model_copy(
        update={
            "task": task,
            "robot": config.robot.model_copy(update={"control_rate_hz": 1 / scene.period_s}),
            "safety": config.safety.model_copy(
                update={"workspace_min_m": low, "workspace_max_m": high}
            ),
        }
    )


class Arm:
    """What of a simulated Franka the rig asks for, of a scene."""

    def __init__(self, scene: Scene, gripper_max_width_m: float) -> None:
        self.scene, self._width_m = scene, gripper_max_width_m
        self.ticks = 0

    @property
    def stamp_ns(self) -> int:
        """Time at the environment's control rate; resets take none."""
        return round(self.ticks * self.scene.period_s * 1e9)

    def ground_truth(self) -> GroundTruth:
        """Whether the task is done, and where everything is."""
        places = dict(zip(self.scene.names, self.scene.objects(), strict=True))
        done = self.scene.success
        return GroundTruth(
            success=done,
            failure=False,
            progress=float(done),
            object_positions=places,
            held=frozenset(),
        )

    def sample(self) -> RobotSample:
        """The tool; joints are left out."""
        state = self.scene.state()
        nothing = np.zeros(0)
        return RobotSample(
            stamp_ns=self.stamp_ns,
            tick=self.ticks,
            q=nothing,
            dq=nothing,
            tau=nothing,
            ee_pose=Pose(state[:3], np.array([1.0, 0.0, 0.0, 0.0])),
            ee_twist=np.zeros(6),
            wrench=np.zeros(6),
            gripper_width_m=float(state[3]) * self._width_m,
        )


class OgbenchRig(Rig):
    """Episodes of an OGBench environment; everything but the cell and its gate is the rig's."""

    def __init__(self, config: Config, scene: Scene) -> None:
        """Observations are exact, as OGBench gives them; nothing stands between chunk and arm."""
        self.config = config
        self.arm = Arm(scene, config.robot.gripper_max_width_m)  # type: ignore[assignment]
        self._scene = scene
        self._perceiver = None
        self._names = scene.names
        self._sequence = 0

    def _reset(self, seed: int, region: RegionName | None = None) -> float:
        self._scene.reset(seed)
        return 0.0

    def _found(self) -> FloatArray:
        return self._scene.objects()

    def _execute(self, chunk: Chunk) -> tuple[Outcome, list[tuple[RobotSample, Target]]]:
        began = chunk.reference_pose.position
        sent = 0
        for row in chunk.actions[: chunk.execute_steps]:
            self._scene.step(np.append(began + row[:3], row[3]))
            self.arm.ticks += 1  # type: ignore[attr-defined]
            sent += 1
            if self._scene.success:
                break
        rows = chunk.actions[:sent]
        done = Outcome(
            stamp_ns=self.arm.stamp_ns,
            sequence=chunk.sequence,
            episode_id=chunk.episode_id,
            decision=chunk.decision,
            source=chunk.source,
            result=ChunkResult.EXECUTED,
            reason="",
            steps_sent=sent,
            steps_clipped=0,
            executed=rows,
            measured=rows,
            duration_s=sent * self._scene.period_s,
            chunk_age_s=0.0,
        )
        return done, []


def as_demonstration(track: Track, names: tuple[str, ...], width_m: float) -> Demonstration:
    """A track as bags of the simulated cell would have recorded it, one decision per step."""
    rows = len(track.states)
    states, targets = np.array(track.states), np.array(track.targets)
    stamps = np.arange(rows, dtype=np.int64)
    still = np.tile([1.0, 0.0, 0.0, 0.0], (rows, 1))
    return Demonstration(
        episode_id="demo",
        outcome=EpisodeOutcome.SUCCESS,
        prompt="",
        object_names=names,
        sequence=stamps,
        state=states.astype(np.float32),
        objects=np.array(track.objects, np.float32),
        visible=np.ones((rows, len(names)), bool),
        actions=np.zeros((rows, 1, 4), np.float32),
        execute_steps=np.ones(rows, np.int64),
        trajectory=Trajectory(
            stamp_ns=stamps,
            ee_positions=states[:, :3],
            ee_quaternions=still,
            gripper_width_m=width_m * states[:, 3],
            target_stamp_ns=stamps,
            target_positions=targets[:, :3],
            target_quaternions=still,
            target_gripper_width_m=width_m * targets[:, 3],
        ),
    )


def pretrain(
    name: str, out: Path, iterations: int, demonstrations: int | None = None
) -> PolicySpec:
    """Demonstrate, clone with context smoothing, and write a policy bundle."""
    problem, scene = PROBLEMS[name], SCENES[name]
    demonstrate, names = demonstrator(name), scene.names
    tracks: list[Track] = []
    seed = 0
    while len(tracks) < (demonstrations or problem.demonstrations):
        track = demonstrate(seed)
        seed += 1
        if track is not None:
            tracks.append(track)
    width_m = 0.08  # of what counts as open; it cancels out
    context = ContextSpec(names, 0, problem.smoothed)
    recorded = [as_demonstration(track, names, width_m) for track in tracks]
    data = training_data(recorded, context, problem.horizon, width_m)
    print(
        f"{name}: {len(tracks)} of {seed} demonstrations, {len(data.context)} samples", flush=True
    )
    mean, std, action_mean, action_std = normalisation(data, context)
    draft = PolicySpec(
        action=ActionSpec(
            frame="world",
            rate_hz=1 / scene.period_s,
            horizon=problem.horizon,
            execute_steps=problem.horizon,
            mean=action_mean.tolist(),
            std=action_std.tolist(),
        ),
        observation=ObservationSpec(
            objects=list(names), prompt_size=0, mean=mean.tolist(), std=std.tolist()
        ),
        smoothing=ContextSmoothing(smoothed=list(problem.smoothed)),  # type: ignore[arg-type]
        network=NetworkSpec(flow_steps=FLOW_STEPS),
        training=TrainingRecord(
            command="benchmarks/ogbench_curves.py",
            task=name,
            demonstrations=len(tracks),
            samples=len(data.context),
            iterations=iterations,
            seed=0,
            data_sha256=data.sha256,
            prompts=[],
        ),
        weights_sha256="",
    )
    policy = train_flow(
        draft.flow_size,
        torch.from_numpy(context.smoothed_mask()),
        torch.from_numpy((encode_steps(data.actions) - action_mean) / action_std).float(),
        torch.from_numpy((data.context - mean) / std).float(),
        TrainingSettings(iterations=iterations),
        lambda done, loss: (
            print(f"iteration {done}  loss {loss:.4f}", flush=True) if done % 500 == 0 else None
        ),
    )
    return save_bundle(out, draft, policy)


def attempts(
    scenes: list[Scene], policy: ChunkPolicy, seed: int, t_context: FloatArray
) -> NDArray[np.bool_]:
    """Whether each of n attempts of the frozen policy from one start state succeeds (n,).

    Every attempt has its own context noise, held, and fresh action noise for every chunk.

    Args:
        scenes: n of them, so that the policy samples for all at once.
        policy: The frozen policy.
        seed: Start state.
        t_context: Context timestep of each attempt (n,).
    """
    spec = policy.spec
    rng = np.random.default_rng(seed)
    for scene in scenes:
        scene.reset(seed)
    eps = rng.standard_normal((len(scenes), spec.context.size)).astype(np.float32)
    t = np.asarray(t_context, np.float32)
    for _ in range(scenes[0].max_steps // spec.action.horizon):
        states = [scene.state().astype(np.float32) for scene in scenes]
        contexts = [
            spec.context.context("", scene.objects().astype(np.float32), state)
            for scene, state in zip(scenes, states, strict=True)
        ]
        noise = rng.standard_normal((len(scenes), spec.action.horizon, spec.action.size))
        chunks = policy.sample(np.stack(contexts), noise.astype(np.float32), t, eps)
        for scene, state, chunk in zip(scenes, states, chunks, strict=True):
            for row in chunk:
                if not scene.success:
                    scene.step(np.append(state[:3] + row[:3], row[3]))
    return np.array([scene.success for scene in scenes])
