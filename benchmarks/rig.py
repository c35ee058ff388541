"""The job without ROS: arm, gate, policy and learner in one process, one call per episode.

For questions about learning, where transport does not matter and many seeds do: about five times
as many episodes per minute as the graph. The parts are the graph's own (gate, acting policy,
learner core, scripted demonstrator, perception if asked for); only homing is replaced by putting
the arm back, for the time that it would take.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from tmrl_ros.core.config import Config
from tmrl_ros.core.types import (
    Chunk,
    ChunkResult,
    ChunkSource,
    Episode,
    EpisodeOutcome,
    EpisodeState,
    Float32Array,
    FloatArray,
    Outcome,
    Phase,
    Pose,
    Reward,
    RobotSample,
    Target,
)
from tmrl_ros.data.bag_reader import Piece
from tmrl_ros.data.dataset import Demonstration, Trajectory
from tmrl_ros.data.decode import RecordedObservation
from tmrl_ros.learning.acting import ActingPolicy, Decision
from tmrl_ros.learning.choosing.reach import Boxes
from tmrl_ros.learning.core import LearnerCore
from tmrl_ros.learning.demonstrated import Cutter
from tmrl_ros.learning.methods import Sizes
from tmrl_ros.perception.perceiver import Perceiver
from tmrl_ros.perception.synchroniser import Bundle, Frame
from tmrl_ros.policies.ahead import NO_ROWS, Ahead
from tmrl_ros.policies.context import feature_size
from tmrl_ros.policies.policy import ChunkPolicy
from tmrl_ros.policies.scripted import ScriptedDemonstrator
from tmrl_ros.robots.simulated_franka import SimulatedFranka
from tmrl_ros.safety.causes import Refusal
from tmrl_ros.safety.gate import Gate
from tmrl_ros.safety.line import Overlap
from tmrl_ros.safety.status import Underway
from tmrl_ros.session.homing import LIFT_M, OPEN_ROWS, SETTLE_ROWS, straight_line
from tmrl_ros.session.seeds import episode_id, episode_seed
from tmrl_ros.sim.readings import GroundTruth
from tmrl_ros.sim.tasks import RegionName

OBJECT_NOISE_M = 0.002
"""Standard deviation of object positions when no pictures are taken, about what perception has."""

DEMONSTRATION_SEED = 1_000_000
NOT_SENT = Refusal.PREFIX_NOT_SENT.value


@dataclass(frozen=True)
class Result:
    """One episode: how it ended, what it cost, and every message the learner would have seen."""

    outcome: EpisodeOutcome
    decisions: int
    robot_seconds: float
    reason: str
    pieces: tuple[Piece, ...] = ()
    t_context: tuple[float, ...] = ()
    idle_share: float = 0.0


@dataclass
class Seen:
    """What one episode of demonstrations leaves: per decision, and per control step."""

    observations: list[RecordedObservation] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    samples: list[RobotSample] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)


class Actor(Protocol):
    """Whoever decides in an episode."""

    policy: ChunkPolicy

    def begin_episode(self, *, index: int, seed: int, method: str, deterministic: bool) -> None:
        """Draw what stays the same over an episode."""

    def decide(self, context: Float32Array, committed: FloatArray = NO_ROWS) -> Decision:
        """Choose a chunk for a raw context (C,), the first rows of which are given."""


class Rig:
    """A simulated cell behind a gate.

    Args:
        config: As for a session.
        pictures: Take pictures and run perception, instead of adding noise to the truth.
        latency_rows: Control periods that a chunk takes to be made. With `session.overlap_rows`,
            which must be no fewer, the chunk before goes on meanwhile; without it the arm holds.
    """

    def __init__(self, config: Config, *, pictures: bool = False, latency_rows: int = 0) -> None:
        self.config = config
        self._overlap = Overlap(config.session.overlap_rows, waits=True)
        if 0 < self._overlap.rows < latency_rows:
            raise ValueError(f"{latency_rows} rows of latency, {self._overlap.rows} of overlap")
        self._latency_rows = 0 if self._overlap.rows else latency_rows
        self._ahead = Ahead(config.safety, config.robot.control_rate_hz)
        self.arm = SimulatedFranka(config)
        self._perceiver = Perceiver(config) if pictures else None
        self._names = tuple(item.name for item in config.task.objects)
        self._rng = np.random.default_rng(0)
        self._sequence = 0

    def run(
        self,
        actor: Actor,
        phase: Phase,
        index: int,
        *,
        method: str = "tmrl",
        deterministic: bool = False,
    ) -> Result:
        """One episode of a policy."""
        session_seed = self.config.session.seed
        seed = episode_seed(session_seed, phase, index)
        reset_s = self._reset(seed)
        actor.begin_episode(index=index, seed=seed, method=method, deterministic=deterministic)
        name = episode_id(phase, index)
        task, action = self.config.task, actor.policy.spec.action
        pieces: list[Piece] = [self._event(name, index, phase, EpisodeState.RESETTING)]
        t_context: list[float] = []
        outcome, reason = EpisodeOutcome.NONE, ""
        began = self.arm.stamp_ns
        self._ahead.begin()
        idle_rows = 0
        for decision in range(task.max_decisions + 1):
            sample = self.arm.sample()
            self._sequence += 1
            seen = self._observe(sample, task.prompt)
            said = self._estimate(name, decision, sample, seen)
            pieces.append(said)
            if said.success or said.failure:
                outcome = EpisodeOutcome.SUCCESS if said.success else EpisodeOutcome.FAILURE
            elif decision == task.max_decisions:
                outcome = EpisodeOutcome.TIMEOUT
            at = sample.stamp_ns, sample.ee_pose.position
            committed = self._ahead.committed(self._sequence, *at)
            made = actor.decide(actor.policy.raw_context(seen), committed)
            chunk = self._chunk(name, decision, sample, made.actions, ChunkSource.POLICY)
            fresh = min(action.execute_steps, len(made.actions) - len(committed))
            chunk = replace(
                chunk,
                features=made.features,
                z=made.z,
                t_context=made.t_context,
                actor=made.actor,
                parameters_version=made.parameters_version,
                eps_context=made.eps_context,
                edit=made.edit,
                candidates=made.candidates,
                execute_steps=0 if outcome else fresh,
                committed_steps=len(committed),
            )
            self._ahead.on_chunk(chunk)
            pieces.append(chunk)
            if not outcome:
                t_context.append(made.t_context)
                if decision:
                    idle_rows += self._latency_rows
                self._hold(self._latency_rows)
            ended = self._go_on(chunk)
            pieces += ended
            stopped = [item for item in ended if item.result is ChunkResult.ABORTED]
            stopped += [item for item in ended if item.reason and item.reason != NOT_SENT]
            if outcome:
                break
            if stopped:
                outcome, reason = EpisodeOutcome.FAILURE, stopped[0].reason
                decision += 1
                break
        rows = (self.arm.stamp_ns - began) / 1e9 * self.config.robot.control_rate_hz
        robot_s = reset_s + (self.arm.stamp_ns - began) / 1e9
        over = replace(
            self._event(name, index, phase, EpisodeState.ENDED),
            outcome=outcome,
            reason=reason,
            decisions=decision,
        )
        pieces.append(over)
        told = tuple(pieces), tuple(t_context)
        return Result(outcome, decision, robot_s, reason, *told, idle_rows / max(rows, 1.0))

    def demonstrate(self, seed: int, prompt: str, wanted: str) -> Demonstration | None:
        """One scripted demonstration; None when it failed."""
        task = self.config.task.model_copy(update={"wanted_object": wanted, "prompt": prompt})
        scripted = ScriptedDemonstrator(task, self.config.robot.gripper_max_width_m)
        self._reset(seed, region="demo")
        scripted.begin_episode(seed)
        seen = Seen()
        success = False
        for decision in range(task.demonstration.max_decisions + 1):
            sample = self.arm.sample()
            observation = self._observe(sample, prompt)
            seen.observations.append(observation)
            objects = observation.object_positions.astype(np.float64)
            truth = self.arm.ground_truth()
            held_up = float(truth.object_positions[wanted][2]) > 0.10 and wanted in truth.held
            if held_up:
                success = True
                break
            named = dict(zip(self._names, objects, strict=True))
            rows = scripted.actions(sample.ee_pose.position, sample.gripper_width_m, named)
            chunk = self._chunk("demo", decision, sample, rows, ChunkSource.HUMAN)
            chunk = replace(chunk, execute_steps=len(rows))
            done, passed = self._execute(chunk)
            seen.rows.append(len(rows))
            seen.samples += [item[0] for item in passed]
            seen.targets += [item[1] for item in passed]
            if done.result is not ChunkResult.EXECUTED:
                return None
        if not success:
            return None
        return self._demonstration(seen, prompt)

    def _demonstration(self, seen: Seen, prompt: str) -> Demonstration:
        rows = len(seen.rows)
        track = Trajectory(
            stamp_ns=np.array([s.stamp_ns for s in seen.samples], np.int64),
            ee_positions=np.array([s.ee_pose.position for s in seen.samples]),
            ee_quaternions=np.array([s.ee_pose.quaternion for s in seen.samples]),
            gripper_width_m=np.array([s.gripper_width_m for s in seen.samples]),
            target_stamp_ns=np.array([s.stamp_ns for s in seen.samples], np.int64),
            target_positions=np.array([t.pose.position for t in seen.targets]),
            target_quaternions=np.array([t.pose.quaternion for t in seen.targets]),
            target_gripper_width_m=np.array([t.gripper_width_m for t in seen.targets]),
        )
        return Demonstration(
            episode_id="demo",
            outcome=EpisodeOutcome.SUCCESS,
            prompt=prompt,
            object_names=self._names,
            sequence=np.arange(rows),
            state=np.stack([item.state for item in seen.observations[:rows]]),
            objects=np.stack([item.object_positions for item in seen.observations[:rows]]),
            visible=np.ones((rows, len(self._names)), bool),
            actions=np.zeros((rows, 1, 4), np.float32),
            execute_steps=np.array(seen.rows, np.int64),
            trajectory=track,
            observations=tuple(seen.observations[:rows]) if self._perceiver else (),
        )

    def _reset(self, seed: int, region: RegionName | None = None) -> float:
        """Objects and arm back; returns the robot seconds that this takes."""
        region = region or self.config.task.region
        here = self.arm.sample().ee_pose.position
        home = np.array(self.config.task.home_position_m)
        up = here + [0.0, 0.0, LIFT_M]
        rate_hz = self.config.robot.control_rate_hz
        rows = len(straight_line(here, up, rate_hz, 400)) + len(
            straight_line(up, home, rate_hz, 400)
        )
        self.arm._cell.reset_scene(seed, region=region, home_arm=True)
        self.arm._pictures.clear()
        self.arm._follow_measured()
        self.arm._width_m = self.config.robot.gripper_max_width_m
        if self._perceiver is not None:
            self._perceiver.forget()
        self._rng = np.random.default_rng(seed)
        self._gate = Gate(self.config.safety, self.config.robot, overlap=self._overlap)
        self._gate.on_state(self.arm.sample(), 0.0)
        open_now, why = self._gate.on_reset(0.0)
        if not open_now:
            raise RuntimeError(why)
        return (rows + OPEN_ROWS + SETTLE_ROWS) / rate_hz + self.config.task.scene_reset_s

    def _hold(self, periods: int) -> None:
        """Let time go by while a chunk is made."""
        for _ in range(periods):
            self.arm.advance()
            self._gate.on_state(self.arm.sample(), 0.0)

    def _go_on(self, chunk: Chunk) -> list[Outcome]:
        """Hand a chunk to the gate; carry on until the next one is wanted, or it has ended."""
        ended: list[Outcome] = []
        effects = self._gate.on_chunk(chunk, 0.0)
        while True:
            due = False
            for effect in effects:
                if isinstance(effect, Outcome):
                    ended.append(effect)
                    self._ahead.on_outcome(effect)
                    due |= effect.sequence == chunk.sequence
                elif isinstance(effect, Underway):
                    self._ahead.on_progress(effect.done)
                    due |= effect.done.sequence == chunk.sequence
            if due:
                return ended
            for effect in effects:
                if isinstance(effect, Target):
                    self.arm.accept(effect)
            self.arm.advance()
            effects = self._gate.on_state(self.arm.sample(), 0.0)

    def _execute(self, chunk: Chunk) -> tuple[Outcome, list[tuple[RobotSample, Target]]]:
        """Pass a chunk through the gate to its end; also every state with the target after it."""
        passed: list[tuple[RobotSample, Target]] = []
        sample = self.arm.sample()
        effects = self._gate.on_chunk(chunk, 0.0)
        while True:
            for effect in effects:
                if isinstance(effect, Outcome):
                    return effect, passed
            targets = [effect for effect in effects if isinstance(effect, Target)]
            if not targets:
                raise RuntimeError("the gate neither sends a target nor ends the chunk")
            passed.append((sample, targets[-1]))
            self.arm.accept(targets[-1])
            self.arm.advance()
            sample = self.arm.sample()
            effects = self._gate.on_state(sample, 0.0)

    def _observe(self, sample: RobotSample, prompt: str) -> RecordedObservation:
        """What a policy gets to see now; images and points only if pictures are taken."""
        opening = sample.gripper_width_m / self.config.robot.gripper_max_width_m
        state = np.array([*sample.ee_pose.position, min(max(opening, 0.0), 1.0)], np.float32)
        count = len(self._names)
        observation = RecordedObservation(
            stamp_ns=sample.stamp_ns,
            sequence=self._sequence,
            episode_id="",
            decision=0,
            robot=sample,
            prompt=prompt,
            state=state,
            object_names=self._names,
            object_positions=np.zeros((count, 3), np.float32),
            object_visible=np.ones(count, bool),
            object_age_s=np.zeros(count),
        )
        if self._perceiver is None:
            return replace(observation, object_positions=self._found().astype(np.float32))
        frames = {
            item.camera: Frame(
                item.stamp_ns, item.color, item.depth_mm, item.intrinsics, sample.ee_pose
            )
            for item in self.arm.take_pictures()
        }
        percept = self._perceiver.perceive(Bundle(sample, frames))
        cameras = [camera.name for camera in self.config.cameras.cameras]
        return replace(
            observation,
            object_positions=np.array([item.position for item in percept.sightings], np.float32),
            images=dict(zip(cameras, percept.images, strict=True)),
            points=percept.cloud.points,
            colors=percept.cloud.colors,
        )

    def _found(self) -> FloatArray:
        """Positions of the objects (K, 3), about as perception would find them."""
        truth = self.arm.ground_truth().object_positions
        found = np.array([truth[name] for name in self._names])
        return found + self._rng.normal(0.0, OBJECT_NOISE_M, found.shape)

    def _chunk(
        self,
        name: str,
        decision: int,
        sample: RobotSample,
        actions: FloatArray,
        source: ChunkSource,
    ) -> Chunk:
        return Chunk(
            stamp_ns=sample.stamp_ns,
            sequence=self._sequence,
            episode_id=name,
            decision=decision,
            source=source,
            action_space="cartesian_relative",
            reference_pose=Pose(sample.ee_pose.position, sample.ee_pose.quaternion),
            orientation=np.array(self.config.task.orientation_xyzw),
            actions=actions,
            execute_steps=len(actions),
            control_rate_hz=self.config.robot.control_rate_hz,
            frame_id=self.config.robot.base_frame,
        )

    def _estimate(
        self, name: str, decision: int, sample: RobotSample, seen: RecordedObservation
    ) -> Reward:
        """What is said of an observation: here the simulator's truth."""
        return self._judge(name, decision, sample, self.arm.ground_truth())

    def _judge(self, name: str, decision: int, sample: RobotSample, truth: GroundTruth) -> Reward:
        return Reward(
            stamp_ns=sample.stamp_ns,
            sequence=self._sequence,
            episode_id=name,
            decision=decision,
            valid=True,
            progress=truth.progress,
            success_probability=float(truth.success),
            success=truth.success,
            failure=truth.failure,
        )

    def _event(self, name: str, index: int, phase: Phase, state: EpisodeState) -> Episode:
        task = self.config.task
        return Episode(
            stamp_ns=self.arm.stamp_ns,
            episode_id=name,
            index=index,
            phase=phase,
            state=state,
            outcome=EpisodeOutcome.NONE,
            reason="",
            seed=0,
            task=task.name,
            prompt=task.prompt,
            method=self.config.method.name,
            learn=phase is Phase.TRAIN,
            deterministic=phase is not Phase.TRAIN,
            max_decisions=task.max_decisions,
            decisions=0,
            robot_seconds=0.0,
        )


@dataclass(frozen=True)
class Point:
    """State of a run after `episodes` episodes."""

    episodes: int
    robot_minutes: float
    train_rate: float
    rate: float | None


class Trial:
    """One fine-tuning run."""

    def __init__(self, rig: Rig, policy: ChunkPolicy) -> None:
        self.rig = rig
        method = rig.config.method
        context = policy.spec.context
        sizes = Sizes(feature_size(context), policy.z_size, context.size)
        folder = Path(tempfile.mkdtemp())
        self.core = LearnerCore(method, sizes, rig.config.session.seed, folder)
        safety = rig.config.safety
        workspace = np.array(safety.workspace_min_m), np.array(safety.workspace_max_m)
        row_m = safety.max_speed_mps / rig.config.robot.control_rate_hz
        self.actor = ActingPolicy(policy, method, workspace, row_m=row_m, boxes=Boxes.of(safety))
        self.robot_seconds = 0.0
        self.outcomes: list[bool] = []

    def begin_with_demonstrations(self, count: int) -> None:
        """Let the scripted expert demonstrate today's task, and learn from that first."""
        config, found = self.rig.config, 0
        cutter = Cutter(
            self.actor.policy.spec, config.task.prompt, config.robot.gripper_max_width_m
        )
        seed = DEMONSTRATION_SEED + 1000 * config.session.seed
        while found < count:
            seed += 1
            shown = self.rig.demonstrate(seed, config.task.prompt, config.task.wanted_object)
            if shown is not None:
                shown = replace(shown, episode_id=f"collect_{found:06d}")
                self.core.seed_rows("demonstrations", cutter.rows(shown))
                found += 1
        if count:
            self.core.restore([])
            while self.core.seeding:
                self.core.work(math.inf)

    def evaluate(self, episodes: int, method: str = "tmrl") -> float:
        """Success rate of the deterministic actor (or base policy) on the evaluation starts."""
        good = 0
        for index in range(episodes):
            result = self.rig.run(
                self.actor, Phase.EVALUATE_AFTER, index, method=method, deterministic=True
            )
            good += result.outcome is EpisodeOutcome.SUCCESS
        return good / max(episodes, 1)

    def install(self) -> None:
        """Act with the newest weights from now on."""
        if self.core.progress.version and self.actor.version != self.core.progress.version:
            weights = self.core.weights()
            self.actor.install(weights.data, weights.metadata_json, weights.version)

    def train(self, episodes: int, every: int, evaluations: int) -> Iterator[Point]:
        """Train; a point, with an evaluation if wanted, after every `every` episodes."""
        for index in range(len(self.outcomes), len(self.outcomes) + episodes):
            self.install()
            result = self.rig.run(self.actor, Phase.TRAIN, index)
            self.robot_seconds += result.robot_seconds
            self.outcomes.append(result.outcome is EpisodeOutcome.SUCCESS)
            for piece in result.pieces:
                self.core.on_piece(piece)
            while self.core.work(math.inf) is not None:
                pass
            if (index + 1) % every == 0:
                self.install()
                rate = self.evaluate(evaluations) if evaluations else None
                recent = self.outcomes[-every:]
                yield Point(index + 1, self.robot_seconds / 60, sum(recent) / len(recent), rate)
