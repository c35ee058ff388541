"""Run episodes: reset, start, end and label them; action server `episode_manager/run_episodes`.

A thin shell around `session.runner.GoalRunner`. Everything happens in callbacks of one thread: each
message is answered at once, and a timer only looks after what did not come.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.clock import Clock, ClockType
from rclpy.parameter import Parameter
from rclpy.task import Future
from std_msgs.msg import Bool, String
from std_srvs.srv import SetBool, Trigger

from tmrl_msgs.action import RunEpisodes
from tmrl_msgs.msg import (
    ActionChunk,
    ChunkOutcome,
    EpisodeEvent,
    LearnerStatus,
    Observation,
    RewardEstimate,
    RobotState,
    SafetyState,
    TeleopCommand,
)
from tmrl_msgs.srv import LabelEpisode, ResetScene
from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.core.types import ChunkSource, Episode, EpisodeState, Phase
from tmrl_ros.data import decode
from tmrl_ros.nodes.common import EVENTS, LATCHED, NEWEST, RELIABLE, ConfiguredNode, run_node
from tmrl_ros.nodes.convert import chunk_to_msg, episode_to_msg
from tmrl_ros.nodes.goal_messages import feedback_to_msg, goal_from_msg, result_to_msg
from tmrl_ros.session.commands import Announce, AskScene, Command, Move, ResetStop, Say
from tmrl_ros.session.gates import Gates, GateSettings, SafetyView, World
from tmrl_ros.session.labels import Labels
from tmrl_ros.session.person import Grasp
from tmrl_ros.session.recorder_view import recorder_fault
from tmrl_ros.session.runner import GoalRunner, prompt_refusal, run_settings

TICK_S = 0.05
LOOK_AROUND_S = 0.25


class EpisodeManager(ConfiguredNode):
    """Feeds messages to the runner of the current goal and carries out what it asks for."""

    def __init__(
        self, *, config: Config | None = None, gate_settings: dict[str, float] | None = None
    ) -> None:
        """Offer the action; `gate_settings` shortens waits in tests."""
        super().__init__("episode_manager", config=config)
        robot, session = self.config.robot, self.config.session
        settings = GateSettings(
            simulated_operator=robot.simulated_operator,
            lockstep=robot.kind == "sim" and not robot.realtime,
            learner_lag=session.learner_lag_episodes,
            **(gate_settings or {}),
        )
        self._gates = Gates(settings)
        self._world = World(learns=self.config.method.learns)
        self._runner: GoalRunner | None = None
        self._handle: ServerGoalHandle | None = None
        self._done: Future | None = None
        self._first_piece = 1
        self._labels = Labels()
        self._grasp = Grasp(self.config.safety.teleop_timeout_s)
        self._recorder_spoke = not self.config.recorder.enabled
        self._looked_s = float("-inf")
        self._shown = ""
        self._connect()
        what = ParameterDescriptor(
            description="what the policy is told from the next episode on; empty: task.prompt"
        )
        self.declare_parameter("prompt", "", what)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._idle("started")
        self._paused.publish(Bool(data=False))

    def _idle(self, reason: str) -> None:
        """Say that what comes from now on belongs to a new manager or a new goal."""
        self._episodes.publish(EpisodeEvent(state=int(EpisodeState.IDLE), reason=reason))

    def _connect(self) -> None:
        self._episodes = self.create_publisher(EpisodeEvent, topics.EPISODE, EVENTS)
        self._moves = self.create_publisher(ActionChunk, topics.RESET_CHUNK, RELIABLE)
        self._status = self.create_publisher(String, topics.MANAGER_STATUS, LATCHED)
        self._paused = self.create_publisher(Bool, topics.PAUSED, LATCHED)
        for kind, topic, callback, qos in (
            (RobotState, topics.ROBOT_STATE, self._on_robot, NEWEST),
            (ChunkOutcome, topics.CHUNK_OUTCOME, self._on_outcome, RELIABLE),
            (RewardEstimate, topics.REWARD, self._on_reward, RELIABLE),
            (ActionChunk, topics.ACTION_CHUNK, self._on_chunk, RELIABLE),
            (SafetyState, topics.SAFETY_STATE, self._on_safety, LATCHED),
            (LearnerStatus, topics.LEARNER_STATUS, self._on_learner, RELIABLE),
            (String, topics.RECORDER_STATUS, self._on_recorder, RELIABLE),
        ):
            self.create_subscription(kind, topic, callback, qos)
        if self.config.by_person:
            self.create_subscription(TeleopCommand, topics.TELEOP_COMMAND, self._on_teleop, NEWEST)
        # Images and clouds are of no interest here, so observations stay undecoded.
        self.create_subscription(
            Observation, topics.OBSERVATION, self._on_observation, RELIABLE, raw=True
        )
        self._scene = self.create_client(ResetScene, topics.RESET_SCENE)
        self._reset = self.create_client(Trigger, topics.RESET)
        self.create_service(LabelEpisode, topics.LABEL_EPISODE, self._on_label)
        self.create_service(SetBool, topics.PAUSE, self._on_pause)
        self._server = ActionServer(
            self,
            RunEpisodes,
            topics.RUN_EPISODES,
            execute_callback=self._execute,
            goal_callback=self._on_goal,
            cancel_callback=self._on_cancel,
        )
        self.create_timer(TICK_S, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """End the running episode, so that nobody takes it for finished."""
        if self._runner is not None and self._runner.result is None:
            self._drive(self._runner.cancel(time.monotonic()))

    def destroy_node(self) -> None:
        """Take the action with it, which would otherwise still seem to be offered."""
        self._server.destroy()
        super().destroy_node()

    # goals

    def _on_goal(self, request: RunEpisodes.Goal) -> GoalResponse:
        known = request.phase in list(Phase)
        if self._runner is not None or not known:
            why = "episodes are being run already" if known else f"phase {request.phase} is unknown"
            self.get_logger().warning(f"Goal refused: {why}.")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _on_cancel(self, _: Any) -> CancelResponse:
        if self._runner is not None:
            self._drive(self._runner.cancel(time.monotonic()))
        return CancelResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> RunEpisodes.Result:
        goal = goal_from_msg(handle.request, self.config.method.name)
        self._handle, self._done = handle, Future(executor=self.executor)
        self._runner = GoalRunner(
            goal, run_settings(self.config), self._gates, self._world, self._first_piece
        )
        self._labels.begin(self._runner)
        self._idle(f"goal {bytes(handle.goal_id.uuid).hex()}")
        self._on_timer()
        result = await self._done
        self._labels.finish()
        self._runner = self._handle = self._done = None
        self._show()
        self.get_logger().info(f"Goal ended: {result.message}.")
        if handle.is_cancel_requested:
            handle.canceled()
        elif result.success:
            handle.succeed()
        else:
            handle.abort()
        return result_to_msg(result)

    # messages

    def _on_robot(self, msg: RobotState) -> None:
        stamp_ns = decode.to_ns(msg.header.stamp)
        self._world.stamp_ns = stamp_ns
        if self._runner is not None:
            measure = partial(decode.robot, msg)
            self._drive(self._runner.on_robot(stamp_ns, measure, time.monotonic()))

    def _on_outcome(self, msg: ChunkOutcome) -> None:
        if self._runner is not None:
            self._drive(self._runner.on_outcome(decode.outcome(msg), time.monotonic()))

    def _on_reward(self, msg: RewardEstimate) -> None:
        if self._runner is not None:
            self._drive(self._runner.on_reward(decode.reward(msg), time.monotonic()))

    def _on_chunk(self, msg: ActionChunk) -> None:
        machine = self._runner.running if self._runner is not None else None
        if machine is not None and msg.source != ChunkSource.RESET:
            machine.on_chunk(msg.episode_id, int(msg.decision))

    def _on_observation(self, _: bytes) -> None:
        machine = self._runner.running if self._runner is not None else None
        if machine is not None:
            machine.on_observation()

    def _on_safety(self, msg: SafetyState) -> None:
        self._world.safety = SafetyView(
            latched=msg.state == SafetyState.STATE_LATCHED,
            code=msg.code,
            message=msg.message,
            causes=tuple(msg.present_causes),
        )
        if self._runner is not None:
            self._drive(self._runner.on_safety(time.monotonic()))

    def _on_learner(self, msg: LearnerStatus) -> None:
        self._world.learner_ready = bool(msg.ready)
        self._world.updates_owed = int(msg.updates_owed)
        self._world.trained_through = msg.trained_through
        if self._runner is not None and self._runner.running is None:
            self._drive(self._runner.on_time(time.monotonic()))

    def _on_recorder(self, msg: String) -> None:
        self._recorder_spoke = True
        self._world.recorder_fault = recorder_fault(msg.data)

    def _on_timer(self) -> None:
        if self._runner is None:
            return
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_AROUND_S and self._runner.running is None:
            self._looked_s = now_s
            self._world.missing = self._missing(self._runner.goal.learn)
        self._drive(self._runner.on_time(now_s))

    def _missing(self, learn: bool) -> tuple[str, ...]:
        """Nodes without which no episode can run and that are not there (yet)."""
        out, into = self.count_publishers, self.count_subscribers
        there = {
            "robot": out(topics.ROBOT_STATE) and self._scene.service_is_ready(),
            "perception": out(topics.OBSERVATION),
            "demonstrator" if self.config.by_person else "policy_server": out(topics.ACTION_CHUNK),
            "safety_supervisor": out(topics.CHUNK_OUTCOME) and into(topics.RESET_CHUNK),
            "reward": out(topics.REWARD) or not self.config.judged,
            "recorder": self._recorder_spoke
            and (out(topics.RECORDER_STATUS) or not self.config.recorder.enabled),
            "learner": out(topics.LEARNER_STATUS) or not learn,
        }
        if not there["learner"]:
            self._world.learner_ready = False  # what it said last, it said before it died
        return tuple(name for name, found in there.items() if not found)

    # commands

    def _drive(self, commands: list[Command]) -> None:
        """Carry out what the runner asks for, and end the goal when it has."""
        for command in commands:
            match command:
                case Announce(episode):
                    self._announce(episode)
                case Move(chunk):
                    self._first_piece = chunk.sequence + 1
                    self._moves.publish(chunk_to_msg(chunk))
                case AskScene(episode_id, seed, task):
                    self._ask_scene(episode_id, ResetScene.Request(seed=seed, task=task))
                case ResetStop():
                    self._reset.call_async(Trigger.Request()).add_done_callback(self._on_was_reset)
                case Say(text, warning=True):
                    self.get_logger().warning(text)
                case Say(text):
                    self.get_logger().info(text)
        runner, done = self._runner, self._done
        self._show()
        if runner is not None and runner.result is not None and done and not done.done():
            done.set_result(runner.result)

    def _announce(self, episode: Episode) -> None:
        for event in self._labels.events(episode):
            self._episodes.publish(episode_to_msg(event))
        if episode.state == EpisodeState.ENDED and self._handle is not None and self._runner:
            self._handle.publish_feedback(feedback_to_msg(episode, self._runner))

    def _ask_scene(self, episode_id: str, request: ResetScene.Request) -> None:
        def answer(future: Future) -> None:
            if self._runner is None:
                return
            reply = future.result()
            success, text = (reply.success, reply.message) if reply else (False, "no answer")
            self._drive(self._runner.on_scene(episode_id, success, text, time.monotonic()))

        self._scene.call_async(request).add_done_callback(answer)

    def _on_was_reset(self, future: Future) -> None:
        reply = future.result()
        if reply is not None and not reply.success:
            self.get_logger().warning(f"The software stop was not reset: {reply.message}")

    def _show(self) -> None:
        text = self._runner.waits_for() if self._runner is not None else ""
        if text != self._shown:
            self._shown = text
            self._status.publish(String(data=text))

    # a person's word

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Another task text: `ros2 param set /episode_manager prompt "..."`, or the page."""
        for parameter in parameters:
            if parameter.name != "prompt":
                continue
            text = str(parameter.value or "").strip()
            goal = self._runner.goal if self._runner is not None else None
            refusal = prompt_refusal(text, goal, self.config.task.prompt)
            if refusal:
                return SetParametersResult(successful=False, reason=refusal)
            self._world.prompt = text
            self.get_logger().info(f"From the next episode on: {text or self.config.task.prompt!r}")
        return SetParametersResult(successful=True)

    def _on_teleop(self, msg: TeleopCommand) -> None:
        """Begin the episode that waits for a person when they take the arm."""
        now_s = time.monotonic()
        if self._grasp.taken(bool(msg.engaged), now_s) and self._runner is not None:
            self._drive(self._runner.on_person(now_s))

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._world.paused = bool(request.data)
        self._paused.publish(Bool(data=self._world.paused))
        response.success = self._world.paused or self._runner is not None
        if self._world.paused:
            response.message = "No further episode starts until somebody presses start."
        elif response.success:
            response.message = "Episodes go on."
        else:
            response.message = "Nobody asks for episodes."
        if self._runner is not None:
            if not self._world.paused:
                self._drive(self._runner.on_person(time.monotonic()))
            self._drive(self._runner.on_time(time.monotonic()))
        return response

    def _on_label(
        self, request: LabelEpisode.Request, response: LabelEpisode.Response
    ) -> LabelEpisode.Response:
        now_s = time.monotonic()
        response.success, response.message, events = self._labels.label(
            request.episode_id, request.outcome, request.labelled_by or "operator", now_s
        )
        for event in events:
            self._episodes.publish(episode_to_msg(event))
        if self._runner is not None:
            self._drive(self._runner.on_time(now_s))
        return response


def main() -> int:
    """Run the node."""
    return run_node(EpisodeManager)


if __name__ == "__main__":
    sys.exit(main())
