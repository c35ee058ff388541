"""Run a whole job through the action `episode_manager/run_episodes`, and write down how it went.

It asks for one phase at a time, goes on where an earlier run of the same session stopped, and ends
with a report. Exit code 0: the job is done; 3: it could not be finished, with a sentence.
"""

from __future__ import annotations

import json
import math
import sys
import time
import uuid
from typing import get_args

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.clock import Clock, ClockType
from rclpy.task import Future
from std_msgs.msg import String
from unique_identifier_msgs.msg import UUID

from tmrl_msgs.action import RunEpisodes
from tmrl_msgs.msg import (
    ActionChunk,
    ChunkOutcome,
    EpisodeEvent,
    LearnerStatus,
    Observation,
    SafetyState,
)
from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError, OperatorError
from tmrl_ros.core.types import EpisodeState, Phase
from tmrl_ros.data import decode
from tmrl_ros.data.episodes_log import write_json_atomic
from tmrl_ros.data.items import stamp_of
from tmrl_ros.nodes.common import EVENTS, LATCHED, RELIABLE, ConfiguredNode, run_node
from tmrl_ros.session.collector import Collector
from tmrl_ros.session.fallback import BASE, notice, rule_of
from tmrl_ros.session.origin import ORIGIN_FILE, origin
from tmrl_ros.session.probe import steering_notice
from tmrl_ros.session.problem import LatestProblem
from tmrl_ros.session.records import append_record, load_records, of_phase
from tmrl_ros.session.recover import recover_records
from tmrl_ros.session.schedule import Goal, Kind, goal_after, plan
from tmrl_ros.session.seeds import PHASE_NAMES
from tmrl_ros.session.status import Status, wall_seconds_before
from tmrl_ros.session.tally import Tally

STATUS_S = 0.25
MANAGER_S = 60.0
LAST_EVENT_S = 2.0
ACCEPTANCE_S = 5.0  # a request sent to a manager that has just died is never answered
PAUSE_S = 1.0
MAX_RESTARTS = 10
EXIT_UNFINISHED = 3
SAFETY_NAMES = {
    SafetyState.STATE_LATCHED: "latched",
    SafetyState.STATE_READY: "ready",
    SafetyState.STATE_RUNNING: "running",
}


class Session(ConfiguredNode):
    """Conductor of one job; `exit_code` tells the launcher how it ended."""

    def __init__(self, *, config: Config | None = None) -> None:
        """Read what has been done already and begin."""
        super().__init__("session", config=config)
        kind: Kind = self.declare_parameter("kind", "finetune").value
        if kind not in get_args(Kind):
            raise ConfigurationError(f"kind={kind!r} is not one of {', '.join(get_args(Kind))}.")
        self.exit_code = EXIT_UNFINISHED
        self._phases = plan(self.config, kind)
        for name in recover_records(self.session_dir):
            self.get_logger().info(f"{name} had ended, but was not in the log: read from its bag.")
        self._records = load_records(self.session_dir)
        attempts: dict[str, int] = {}
        for record in self._records:
            attempts[record.episode_id] = max(
                attempts.get(record.episode_id, 0), record.attempt + 1
            )
        self._collector = Collector(attempts=attempts)
        self._wall_before_s = wall_seconds_before(self.session_dir, self._records)
        self._began_s = time.monotonic()
        self._status = Status(message="Waiting for the episode manager.")
        self._problem = LatestProblem()
        self._tally = Tally(self.session_dir / "episodes", self.config.collect)
        self._goal: Goal | None = None
        self._handle: ClientGoalHandle | None = None
        self._mark, self._marked = "", False
        self._manager_gone_s = self._began_s
        self._restarts = 0
        self._ended = False
        self._answer_due_s = self._not_before_s = 0.0
        self._events_due = (0, 0.0)
        write_json_atomic(self.session_dir / ORIGIN_FILE, origin(self.config, kind))
        self._connect()

    def _connect(self) -> None:
        for kind, topic, callback, qos in (
            (EpisodeEvent, topics.EPISODE, self._on_episode, EVENTS),
            (ActionChunk, topics.ACTION_CHUNK, self._on_chunk, RELIABLE),
            (ChunkOutcome, topics.CHUNK_OUTCOME, self._on_outcome, RELIABLE),
            (SafetyState, topics.SAFETY_STATE, self._on_safety, LATCHED),
            (LearnerStatus, topics.LEARNER_STATUS, self._on_learner, RELIABLE),
            (String, topics.RECORDER_STATUS, self._on_recorder, RELIABLE),
            (String, topics.MANAGER_STATUS, self._on_manager_status, LATCHED),
        ):
            self.create_subscription(kind, topic, callback, qos)
        # Only the stamp is of interest, so the images stay undecoded.
        self.create_subscription(
            Observation, topics.OBSERVATION, self._on_observation, RELIABLE, raw=True
        )
        self._client = ActionClient(self, RunEpisodes, topics.RUN_EPISODES)
        self.create_timer(STATUS_S, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Stop the episodes when the job is stopped before its end."""
        if self._handle is not None:
            self._handle.cancel_goal_async()
        if not self._ended:
            self._status.message = "Stopped before the end; it can be resumed."
        self._write_status()

    @property
    def _wall_s(self) -> float:
        return self._wall_before_s + time.monotonic() - self._began_s

    # one goal after the other

    def _on_timer(self) -> None:
        now_s = time.monotonic()
        if self._client.server_is_ready():
            self._manager_gone_s = now_s
            if self._goal is not None and self._handle is None and now_s > self._answer_due_s:
                self._try_again("The episode manager did not answer.")
            self._go_on()
        elif now_s - self._manager_gone_s > MANAGER_S:
            self._give_up(f"The episode manager has not been there for {MANAGER_S:g} s.")
        elif self._goal is not None and now_s - self._manager_gone_s > 1.0:
            self._manager_restarted()
        self._write_status()

    def _ask_next(self) -> None:
        goal = goal_after(self.config, self._phases, self._records)
        if goal is None:
            self._finish()
            return
        self._goal = goal
        self._status.phase = PHASE_NAMES[goal.phase]
        self._status.episode = goal.start_index
        whole = next(phase for phase in self._phases if phase.phase is goal.phase)
        until = goal.start_index + goal.episodes
        self._status.episodes_total = until if whole.is_probe else whole.episodes
        self._status.message = ""
        self.get_logger().info(
            f"Phase {self._status.phase}: {goal.episodes} episodes from {goal.start_index} on."
        )
        self._tell_of_fallback(goal)
        self._tell_of_steering()
        request = RunEpisodes.Goal(
            phase=int(goal.phase),
            episodes=goal.episodes,
            start_index=goal.start_index,
            seed=goal.seed,
            method=goal.method,
            learn=goal.learn,
            deterministic=goal.deterministic,
            max_robot_seconds=goal.max_robot_seconds,
            stop_window=goal.stop_window,
            stop_success_rate=goal.stop_success_rate,
        )
        number = uuid.uuid4()
        self._answer_due_s = time.monotonic() + ACCEPTANCE_S
        self._mark = f"goal {number.hex}"
        sent = self._client.send_goal_async(request, goal_uuid=UUID(uuid=list(number.bytes)))
        sent.add_done_callback(lambda future: self._on_accepted(goal, future))

    def _tell_of_fallback(self, goal: Goal) -> None:
        """Say why the base policy acts in training, and when what was learned is tried again."""
        said = self._status.fallback
        by_base = goal.phase is Phase.TRAIN and goal.method == BASE
        self._status.fallback = notice(rule_of(self.config), self._records) if by_base else ""
        if self._status.fallback:
            self.get_logger().warning(self._status.fallback)
        elif said:
            self.get_logger().info("What was learned is tried again.")

    def _tell_of_steering(self) -> None:
        """Say once what of the steering range is destructive."""
        said, self._status.steering = (
            self._status.steering,
            steering_notice(self.config, self._records),
        )
        if self._status.steering not in ("", said):
            self.get_logger().warning(self._status.steering)

    def _on_accepted(self, goal: Goal, future: Future) -> None:
        handle = future.result()
        if self._goal is not goal:
            if handle is not None and handle.accepted:
                handle.cancel_goal_async()  # too late: it has been asked for again
            return
        if handle is None or not handle.accepted:
            self._try_again("The episode manager refused: it is busy with someone else's episodes.")
            return
        self._handle = handle
        handle.get_result_async().add_done_callback(lambda done: self._on_result(goal, done))

    def _on_result(self, goal: Goal, future: Future) -> None:
        if self._goal is not goal:
            return
        reply = future.result()
        self._goal = self._handle = None
        if reply is None or reply.status == GoalStatus.STATUS_UNKNOWN:
            self._try_again("The episode manager has no result.")
        elif not reply.result.success:
            self._give_up(reply.result.message)
        else:
            self._restarts = 0
            done = goal.start_index + reply.result.episodes
            self._events_due = (done, time.monotonic() + LAST_EVENT_S)
            self._go_on()

    def _go_on(self) -> None:
        """Ask for the next phase once the last events are in, which a result may overtake."""
        waits = self._goal is not None or time.monotonic() < self._not_before_s
        if waits or self._ended or not self._client.server_is_ready():
            return
        count, give_up_s = self._events_due
        written = len(of_phase(self._records, self._status.phase))
        if written >= count or time.monotonic() >= give_up_s:
            self._ask_next()

    def _manager_restarted(self) -> None:
        self._collector.current = None
        self._try_again("The episode manager was restarted.")

    def _try_again(self, why: str) -> None:
        self._goal = self._handle = None
        self._not_before_s = time.monotonic() + PAUSE_S
        self._restarts += 1
        self.get_logger().warning(why)
        self._status.message = why
        if self._restarts > MAX_RESTARTS:
            self._give_up(f"{why} Gave up after {MAX_RESTARTS} tries.")

    def _give_up(self, why: str) -> None:
        self._goal = self._handle = None
        self._end(f"The job could not be finished: {why.rstrip('.')}.", EXIT_UNFINISHED)

    def _finish(self) -> None:
        self._end("The job is done.", 0)

    def _end(self, text: str, exit_code: int) -> None:
        if self._ended:
            return
        self._ended = True
        self.exit_code = exit_code
        self._status.done = exit_code == 0
        self._status.message = text
        self._write_status()
        from tmrl_ros.session.report import build_report  # plotting takes memory the job needs

        try:
            build_report(self.session_dir)
        except OperatorError as error:
            text = f"{text} {error}"
        if exit_code:
            self.get_logger().error(text)
        else:
            self.get_logger().info(text)
        self.context.try_shutdown()

    # messages

    def _on_episode(self, msg: EpisodeEvent) -> None:
        event = decode.episode(msg)
        if event.state == EpisodeState.IDLE:
            restarted = self._marked and self._goal is not None and event.reason == "started"
            self._marked = event.reason == self._mark
            if restarted:
                self._manager_restarted()
            return
        if not self._marked:
            return  # from before our goal, or somebody else's
        record = self._collector.on_episode(event, time.monotonic(), self._wall_s)
        if event.phase in PHASE_NAMES and self._status.phase == PHASE_NAMES[event.phase]:
            self._status.episode = event.index + 1
        if record is None:
            return
        self._problem.on_end(event, time.strftime("%H:%M:%S"))
        append_record(self.session_dir, record, event)
        self._records = load_records(self.session_dir)
        self._tell_of_steering()
        self._go_on()

    def _on_observation(self, data: bytes) -> None:
        self._collector.on_observation(stamp_of(data), time.monotonic())

    def _on_chunk(self, msg: ActionChunk) -> None:
        self._collector.on_chunk(decode.chunk(msg), time.monotonic())
        self._status.t_context = self._collector.t_context

    def _on_outcome(self, msg: ChunkOutcome) -> None:
        self._collector.on_outcome(decode.outcome(msg))

    def _on_safety(self, msg: SafetyState) -> None:
        state = SAFETY_NAMES.get(msg.state, "unknown")
        self._status.safety = {"state": state, "code": msg.code, "message": msg.message}
        latched = msg.state == SafetyState.STATE_LATCHED
        self._problem.on_stop(latched, msg.code, msg.message, time.strftime("%H:%M:%S"))

    def _on_learner(self, msg: LearnerStatus) -> None:
        figures: dict[str, float | None] = {
            "transitions": float(msg.transitions),
            "updates_done": float(msg.updates_done),
            "updates_owed": float(msg.updates_owed),
            "updates_per_second": float(msg.updates_per_second),
        }
        for name, value in zip(msg.metric_names, msg.metric_values, strict=False):
            figures[name] = round(float(value), 6) if math.isfinite(value) else None
        self._collector.learner = figures
        self._status.learner = figures

    def _on_recorder(self, msg: String) -> None:
        try:
            said = json.loads(msg.data)
            lost = int(said.get("lost", 0)) + int(said.get("dropped", 0))
        except (ValueError, TypeError, AttributeError):
            return
        self._status.messages_lost = {"recorder": lost}

    def _on_manager_status(self, msg: String) -> None:
        self._status.message = msg.data

    def _write_status(self) -> None:
        self._status.wall_minutes = self._wall_s / 60.0
        if self.config.by_person:
            self._status.collected = self._tally.line(self._records)
        self._status.problem = {"at": self._problem.at, "text": self._problem.text}
        try:
            self._status.write(self.session_dir, self._records)
        except OSError as error:
            self.get_logger().warning(
                f"status.json cannot be written: {error}", throttle_duration_sec=10.0
            )


def main() -> int:
    """Run the node; return the exit code of the job."""
    return run_node(Session)


if __name__ == "__main__":
    sys.exit(main())
