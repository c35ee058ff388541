"""Policy server: answers every observation with exactly one action chunk."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import numpy as np
from rclpy.clock import Clock, ClockType

from tmrl_msgs.msg import ActionChunk, EpisodeEvent, Observation, PolicyParameters, RewardEstimate
from tmrl_msgs.srv import Infer
from tmrl_ros.core import topics
from tmrl_ros.core.attempts import is_ahead
from tmrl_ros.core.comparison import letter_of
from tmrl_ros.core.compute import prepare_torch
from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.types import Chunk, ChunkSource, Episode, EpisodeState, Float32Array
from tmrl_ros.data import decode
from tmrl_ros.learning.acting import ActingPolicy, Decision
from tmrl_ros.learning.choosing.choice import NOTHING
from tmrl_ros.learning.choosing.reach import Boxes
from tmrl_ros.learning.contenders import load_contenders
from tmrl_ros.learning.offered import OfferedWeights
from tmrl_ros.learning.progress import Weights
from tmrl_ros.nodes.common import EVENTS, RELIABLE, ConfiguredNode, run_node
from tmrl_ros.nodes.convert import chunk_to_msg
from tmrl_ros.nodes.running_chunk import follow_chunks
from tmrl_ros.policies.ahead import NO_ROWS, Ahead
from tmrl_ros.policies.source import open_policy

if TYPE_CHECKING:
    from tmrl_ros.policies.scripted import ScriptedDemonstrator

REWARD_WAIT_S = 0.5
PROGRESS_S = 0.5
"""How long a decision waits for the word how far the chunk before is."""
UNANSWERED = "unanswered"


class PolicyServer(ConfiguredNode):
    """Holds the frozen policy and what was learned; answers at once, moves once rewards are in."""

    def __init__(self, *, config: Config | None = None) -> None:
        """Load and check the bundle; nothing is published before that succeeded."""
        super().__init__("policy_server", config=config)
        prepare_torch(self.config.session.torch_threads)
        task = self.config.task
        self._scripted: ScriptedDemonstrator | None = None
        self._acting: ActingPolicy | None = None
        self._bundle_hash = ""
        if self.config.method.name == "scripted":
            from tmrl_ros.policies.scripted import ScriptedDemonstrator  # and with it the simulator

            self._scripted = ScriptedDemonstrator(task, self.config.robot.gripper_max_width_m)
        else:
            self._acting = self._load(self.config)
            self._bundle_hash = self._acting.policy.spec.digest()
            self._warm_up()
        self._contenders = load_contenders(self.config, self._load)
        self._episode: Episode | None = None
        waits = not self.config.robot.realtime
        self._offered = OfferedWeights(self.config.session.learner_lag_episodes if waits else None)
        self._rewards: dict[int, RewardEstimate] = {}
        self._early: Observation | None = None  # of an episode that is not known to run yet
        self._waiting: tuple[Observation, Decision, float, float] | None = None
        self._undecided: tuple[Observation, float] | None = None  # while it is unclear what runs
        self._ahead: Ahead | None = None
        if self.config.session.overlap_rows and self._scripted is None:
            self._ahead = follow_chunks(self, lambda: self._episode, self._try_again)
        self._publisher = self.create_publisher(ActionChunk, topics.ACTION_CHUNK, RELIABLE)
        self.create_subscription(EpisodeEvent, topics.EPISODE, self._on_episode, EVENTS)
        self.create_subscription(Observation, topics.OBSERVATION, self._on_observation, RELIABLE)
        self.create_subscription(RewardEstimate, topics.REWARD, self._on_reward, RELIABLE)
        self.create_subscription(
            PolicyParameters, topics.POLICY_PARAMETERS, self._on_parameters, EVENTS
        )
        self.create_service(Infer, topics.INFER, self._on_infer)
        self.create_timer(0.05, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _load(self, config: Config) -> ActingPolicy:
        """The policy of a configuration, and the way it is fine-tuned."""
        safety = config.safety
        policy, _, how = open_policy(config)
        source = "" if config.policy.remote else f" of {config.task.bundle.name}"
        self.get_logger().info(f"Chunks{source} are sampled by {how}.")
        workspace = np.array(safety.workspace_min_m), np.array(safety.workspace_max_m)
        row_m = safety.max_speed_mps / config.robot.control_rate_hz
        boxes = Boxes.of(safety)
        return ActingPolicy(policy, config.method, workspace, row_m=row_m, boxes=boxes)

    def _warm_up(self) -> None:
        """Run the network once, so that the first decision is as quick as the others."""
        assert self._acting is not None
        self._acting.begin_episode(index=0, seed=0, method="base", deterministic=True)
        self._acting.decide(np.zeros(self._acting.policy.spec.context.size, np.float32))

    def _on_episode(self, msg: EpisodeEvent) -> None:
        episode = decode.episode(msg)
        known = self._episode
        same = known is not None and known.episode_id == episode.episode_id
        if episode.state is EpisodeState.ENDED and known is not None and not same:
            return  # an older episode got another label
        self._episode = episode
        if same and known.state is episode.state is EpisodeState.RUNNING:
            return
        if episode.state in (EpisodeState.RESETTING, EpisodeState.RUNNING):
            self._begin(episode)
        if episode.state is EpisodeState.RESETTING and self._acting is not None:
            self._prepare(self._acting)
        if self._early is not None and not self._is_ahead(self._early):
            observation, self._early = self._early, None
            self._on_observation(observation)

    def _begin(self, episode: Episode) -> None:
        """Draw the episode's noise and take the weights it is to be acted with."""
        self._rewards = {
            number: reward
            for number, reward in self._rewards.items()
            if decode.to_ns(reward.header.stamp) >= episode.stamp_ns
        }
        self._waiting = self._undecided = None
        if self._ahead is not None:
            self._ahead.begin()
        if self._scripted is not None:
            self._scripted.begin_episode(episode.seed)
        contender = self._contenders.get(letter_of(episode.method) or "")
        if contender is not None:
            self._acting, self._bundle_hash = contender.acting, contender.bundle_hash
            method = contender.method
        else:
            method = episode.method
        if self._acting is None:
            return
        chosen = None if contender is not None else self._offered.of(episode)
        if chosen is not None and chosen.version != self._acting.version:
            self._acting.install(chosen.data, chosen.metadata_json, chosen.version)
        self._acting.begin_episode(
            index=episode.index,
            seed=episode.seed,
            method=method,
            deterministic=episode.deterministic,
        )

    def _prepare(self, acting: ActingPolicy) -> None:
        """A policy server that was lost may be found again before the first observation."""
        try:
            acting.policy.prepare()
        except OperatorError as error:
            self.get_logger().error(f"Nobody is there to act yet: {error}")

    def _on_parameters(self, msg: PolicyParameters) -> None:
        self._offered.add(
            Weights(int(msg.version), msg.trained_through, msg.metadata_json, bytes(msg.weights))
        )

    def _is_earlier(self, msg: RewardEstimate | Observation) -> bool:
        """Whether a message is of an earlier attempt at the running episode, with equal numbers."""
        episode = self._episode
        running = episode is not None and episode.state is EpisodeState.RUNNING
        return running and decode.to_ns(msg.header.stamp) < episode.stamp_ns

    def _is_ahead(self, msg: Observation) -> bool:
        stamp_ns = decode.to_ns(msg.header.stamp)
        return is_ahead(stamp_ns, msg.episode_id, int(msg.decision), self._episode)

    def _on_reward(self, msg: RewardEstimate) -> None:
        if self._is_earlier(msg):
            return
        self._rewards[int(msg.sequence)] = msg
        if self._waiting is not None and int(self._waiting[0].sequence) == int(msg.sequence):
            self._answer()

    def _on_observation(self, msg: Observation) -> None:
        if self._is_earlier(msg):
            return
        if self._is_ahead(msg):
            self._early = msg
            return
        self._decide_when_clear(msg, time.monotonic())

    def _decide_when_clear(self, msg: Observation, since_s: float) -> None:
        """Decide as soon as it is known which rows are still carried out."""
        self._undecided = None
        stamp_ns, patient = decode.to_ns(msg.header.stamp), time.monotonic() - since_s < PROGRESS_S
        if patient and self._ahead and not self._ahead.knows(int(msg.sequence), stamp_ns):
            self._undecided = msg, since_s
            return
        started = time.perf_counter()
        try:
            decision = self._decide(msg)
        except ValueError as error:
            self.get_logger().error(f"Observation {msg.sequence} cannot be acted on: {error}")
            return
        except OperatorError as error:  # of a policy server: the next observation asks it again
            self.get_logger().error(f"The arm holds at observation {msg.sequence}: {error}")
            decision = self._nothing(msg)
        elapsed_ms = (time.perf_counter() - started) * 1e3
        if self._waiting is not None:
            self._answer()
        self._waiting = (msg, decision, elapsed_ms, time.monotonic())
        if int(msg.sequence) in self._rewards:
            self._answer()

    def _try_again(self) -> None:
        if self._undecided is not None:
            self._decide_when_clear(*self._undecided)

    def _on_timer(self) -> None:
        """What does not come in time does not hold the arm."""
        self._try_again()
        if self._waiting is not None and time.monotonic() - self._waiting[3] > REWARD_WAIT_S:
            self._answer()

    def _answer(self) -> None:
        assert self._waiting is not None
        msg, decision, elapsed_ms, _ = self._waiting
        self._waiting = None
        reward = self._rewards.get(int(msg.sequence))
        terminal = reward is not None and reward.valid and (reward.success or reward.failure)
        episode = self._episode
        running = (
            episode is not None
            and episode.state is EpisodeState.RUNNING
            and episode.episode_id == msg.episode_id
            and msg.decision < episode.max_decisions
        )
        execute = self._execute_steps(decision) if running and not terminal else 0
        deterministic = episode.deterministic if episode is not None else False
        chunk = self._chunk(msg, decision, execute, deterministic, elapsed_ms)
        if self._ahead is not None:
            self._ahead.on_chunk(chunk)
        self._publisher.publish(chunk_to_msg(chunk))

    def _execute_steps(self, decision: Decision) -> int:
        if self._scripted is not None:
            return min(self._scripted.execute_steps, len(decision.actions))
        if decision.actor == UNANSWERED:
            return 0
        assert self._acting is not None
        fresh = len(decision.actions) - decision.committed_steps
        return min(self._acting.policy.spec.action.execute_steps, fresh)

    def _decide(self, msg: Observation) -> Decision:
        if self._scripted is not None:
            positions = np.array(msg.object_positions, np.float64).reshape(-1, 3)
            ee = decode.pose(msg.robot.ee_pose)
            actions = self._scripted.actions(
                ee.position,
                float(msg.robot.gripper_width_m),
                dict(zip(msg.object_names, positions, strict=True)),
            )
            return Decision(actions=actions, features=NOTHING, actor="scripted")
        assert self._acting is not None
        committed = NO_ROWS
        if self._ahead is not None:
            at = decode.to_ns(msg.header.stamp), decode.pose(msg.robot.ee_pose).position
            committed = self._ahead.committed(int(msg.sequence), *at)
        return self._acting.decide(self._raw_context(msg), committed)

    def _nothing(self, msg: Observation) -> Decision:
        """A chunk that stays where the arm is, none of which is carried out."""
        assert self._acting is not None
        policy = self._acting.policy
        still = np.zeros((policy.spec.action.horizon, policy.spec.action.size))
        still[:, 3] = float(msg.state[3])
        features = policy.features(self._raw_context(msg))
        return Decision(actions=still, features=features, actor=UNANSWERED)

    def _raw_context(self, msg: Observation) -> Float32Array:
        assert self._acting is not None
        policy = self._acting.policy
        return policy.raw_context(decode.observation(msg, images=policy.needs_pictures))

    def _chunk(
        self,
        msg: Observation,
        decision: Decision,
        execute: int,
        deterministic: bool,
        elapsed_ms: float,
    ) -> Chunk:
        source = ChunkSource.HUMAN if self._scripted is not None else ChunkSource.POLICY
        return Chunk(
            stamp_ns=decode.to_ns(msg.header.stamp),
            sequence=int(msg.sequence),
            episode_id=msg.episode_id,
            decision=int(msg.decision),
            source=source,
            action_space="cartesian_relative",
            reference_pose=decode.pose(msg.robot.ee_pose),
            orientation=np.array(self.config.task.orientation_xyzw),
            actions=decision.actions,
            execute_steps=execute,
            control_rate_hz=self.config.robot.control_rate_hz,
            frame_id=self.config.robot.base_frame,
            features=decision.features,
            z=decision.z,
            t_context=decision.t_context,
            eps_context=decision.eps_context,
            edit=decision.edit,
            candidates=decision.candidates,
            deterministic=deterministic,
            actor=decision.actor,
            parameters_version=decision.parameters_version,
            bundle_hash=self._bundle_hash,
            inference_ms=elapsed_ms,
            committed_steps=decision.committed_steps,
        )

    def _on_infer(self, request: Infer.Request, response: Infer.Response) -> Infer.Response:
        """Answer a tool; nothing moves, because the chunk goes back to the caller only."""
        if self._acting is None:
            response.message = "scripted demonstrations do not answer inference requests"
            return response
        try:
            context = self._raw_context(request.observation)
            policy = self._acting.policy
            z = np.array(request.z, np.float32)
            if z.size not in (0, policy.z_size):
                raise ValueError(f"z has {z.size} values, the policy takes {policy.z_size}")
            if z.size == 0:
                z = np.zeros(policy.z_size, np.float32)
            t = min(max(float(request.t_context), 0.0), 1.0)
            actions = policy.sample(
                context[None], z[None], np.array([t], np.float32), np.zeros_like(context)[None]
            )[0]
            decision = Decision(
                actions=actions,
                features=policy.features(context),
                z=z,
                t_context=t,
                actor="infer",
            )
            response.chunk = chunk_to_msg(self._chunk(request.observation, decision, 0, True, 0.0))
            response.success = True
        except (ValueError, OperatorError) as error:
            response.message = str(error)
        return response


def main() -> int:
    """Entry point of the process."""
    return run_node(PolicyServer)


if __name__ == "__main__":
    sys.exit(main())
