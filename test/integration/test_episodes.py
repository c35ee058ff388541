"""Episodes over real DDS: the episode manager and the reward node among scripted others."""

import json
import signal
import subprocess
import sys
import time

import pytest
import rclpy
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String
from std_srvs.srv import Trigger

from tmrl_msgs.action import RunEpisodes
from tmrl_msgs.msg import (
    ActionChunk,
    ChunkOutcome,
    EpisodeEvent,
    GroundTruth,
    LearnerStatus,
    Observation,
    RewardEstimate,
    RobotState,
    SafetyState,
)
from tmrl_msgs.srv import LabelEpisode, ResetScene
from tmrl_ros.core import topics
from tmrl_ros.core.load import load_config, write_config
from tmrl_ros.core.types import EpisodeOutcome, EpisodeState
from tmrl_ros.nodes.common import EVENTS, LATCHED, RELIABLE
from tmrl_ros.nodes.convert import header
from tmrl_ros.nodes.episode_manager import EpisodeManager
from tmrl_ros.nodes.reward import RewardNode
from tmrl_ros.session.records import load_records
from tmrl_ros.session.status import read_json

PERIOD_NS = 50_000_000
SUCCESS, FAILURE, TIMEOUT, ABORTED = list(EpisodeOutcome)[1:]
PATIENCE_S = 30.0


class Cell(Node):
    """Robot, supervisor, perception, policy server, recorder and learner in a few lines each."""

    def __init__(self, *, rows=8):
        super().__init__("cell")
        self.rows = rows
        self.success_at = {}  # index of the episode -> decision at which the truth says success
        self.success_with = {}  # method that acts -> the same, for all its episodes
        self.silent_policy = False
        self.latch_at = None  # (episode index, decision): once
        self.latched, self.code = True, "START"
        self.tick, self.at_home = 100, False
        self.sequence = 0
        self.current = EpisodeEvent()
        self.events, self.scene_seeds, self.resets = [], [], 0
        self.reset_rows = []
        out = self.create_publisher
        self.states = out(RobotState, topics.ROBOT_STATE, RELIABLE)
        self.truths = out(GroundTruth, topics.GROUND_TRUTH, RELIABLE)
        self.observations = out(Observation, topics.OBSERVATION, RELIABLE)
        self.chunks = out(ActionChunk, topics.ACTION_CHUNK, RELIABLE)
        self.outcomes = out(ChunkOutcome, topics.CHUNK_OUTCOME, RELIABLE)
        self.safety = out(SafetyState, topics.SAFETY_STATE, LATCHED)
        self.recorder = out(String, topics.RECORDER_STATUS, RELIABLE)
        self.learner = out(LearnerStatus, topics.LEARNER_STATUS, RELIABLE)
        self.trained_through = ""
        into = self.create_subscription
        into(EpisodeEvent, topics.EPISODE, self.on_episode, EVENTS)
        into(ActionChunk, topics.RESET_CHUNK, self.on_reset_chunk, RELIABLE)
        into(RewardEstimate, topics.REWARD, self.on_reward, RELIABLE)
        self.create_service(ResetScene, topics.RESET_SCENE, self.on_reset_scene)
        self.create_service(Trigger, topics.RESET, self.on_reset)
        self.create_timer(0.1, self.on_timer)

    @property
    def stamp_ns(self):
        return self.tick * PERIOD_NS

    def on_timer(self):
        self.state()
        self.say_safety()
        self.recorder.publish(String(data=json.dumps({"ok": True, "message": ""})))
        self.learner.publish(LearnerStatus(ready=True, trained_through=self.trained_through))

    def state(self):
        at = header(self.stamp_ns, "panda_link0")
        msg = RobotState(header=at, tick=self.tick, gripper_width_m=0.08)
        position = msg.ee_pose.position
        position.x, position.y, position.z = (0.45, 0.0, 0.2) if self.at_home else (0.6, 0.1, 0.1)
        msg.ee_pose.orientation.x, msg.ee_pose.orientation.w = 1.0, 0.0
        decided = self.success_with.get(self.current.method, 99)
        decided = self.success_at.get(self.current.index, decided)
        done = self.current.state == EpisodeState.RUNNING and self.decision >= decided
        self.truths.publish(GroundTruth(header=at, success=done, progress=0.5))
        self.states.publish(msg)

    def say_safety(self):
        state = SafetyState.STATE_LATCHED if self.latched else SafetyState.STATE_READY
        self.safety.publish(SafetyState(state=state, code=self.code))

    def on_reset(self, _, response):
        self.latched, self.code = False, ""
        self.resets += 1
        self.say_safety()
        response.success = True
        return response

    def on_reset_scene(self, request, response):
        self.scene_seeds.append(request.seed)
        self.tick += 60
        self.state()
        response.success, response.duration_s = True, 3.0
        return response

    def on_reset_chunk(self, msg):
        self.tick += msg.execute_steps
        self.at_home = True
        self.reset_rows.append(msg.execute_steps)
        self.outcome(msg, ChunkOutcome.RESULT_EXECUTED)
        self.state()

    def on_episode(self, msg):
        self.events.append(msg)
        started = msg.state == EpisodeState.RUNNING
        self.current = msg
        if msg.state == EpisodeState.ENDED:
            self.at_home = False
            if msg.learn and msg.outcome != ABORTED:
                self.trained_through = msg.episode_id
        if started:
            self.decision = -1
            self.observe()

    decision = 0

    def observe(self):
        self.decision += 1
        self.sequence += 1
        self.state()
        self.observations.publish(
            Observation(
                header=header(self.stamp_ns),
                sequence=self.sequence,
                episode_id=self.current.episode_id,
                decision=self.decision,
            )
        )

    def on_reward(self, msg):
        """The policy waits for the reward, then answers; the supervisor executes at once."""
        if self.silent_policy or msg.episode_id != self.current.episode_id:
            return
        last = msg.success or msg.failure or msg.decision >= self.current.max_decisions
        chunk = ActionChunk(
            header=msg.header,
            sequence=msg.sequence,
            episode_id=msg.episode_id,
            decision=msg.decision,
            execute_steps=0 if last else self.rows,
        )
        self.chunks.publish(chunk)
        if last:
            self.outcome(chunk, ChunkOutcome.RESULT_SKIPPED)
            return
        if self.latch_at == (self.current.index, msg.decision):
            self.latch_at = None
            self.latched, self.code = True, "REFLEX"
            self.say_safety()
            self.outcome(chunk, ChunkOutcome.RESULT_ABORTED, "REFLEX")
            return
        self.tick += self.rows
        self.outcome(chunk, ChunkOutcome.RESULT_EXECUTED)
        self.observe()

    def outcome(self, chunk, result, reason=""):
        self.outcomes.publish(
            ChunkOutcome(
                header=header(self.stamp_ns),
                sequence=chunk.sequence,
                episode_id=chunk.episode_id,
                decision=chunk.decision,
                source=chunk.source,
                result=result,
                reason=reason,
                action_dim=4,
            )
        )


class Stage:
    """Everybody on one thread, with a client that asks for episodes."""

    def __init__(self, *overrides):
        self.config = load_config(
            [
                *("task=lift", "task.max_decisions=3", "recorder.enabled=true"),
                *("reward=simulator", *overrides),
            ]
        )
        self.cell = Cell()
        self.manager = EpisodeManager(config=self.config, gate_settings={"settle_s": 0.3})
        self.client_node = Node("client")
        self.client = ActionClient(self.client_node, RunEpisodes, topics.RUN_EPISODES)
        self.label_client = self.client_node.create_client(LabelEpisode, topics.LABEL_EPISODE)
        self.nodes = [
            self.cell,
            self.manager,
            self.client_node,
            RewardNode(config=self.config, patience_s=0.2),
        ]
        self.executor = SingleThreadedExecutor()
        for node in self.nodes:
            self.executor.add_node(node)

    def until(self, condition, what="it"):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f"{what} did not happen; {self.story}"
            self.executor.spin_once(timeout_sec=0.05)

    def run(self, **goal):
        values = {"phase": 0, "episodes": 1, "learn": True, "seed": 5}
        self.until(self.client.server_is_ready, "the action server")
        sent = self.client.send_goal_async(RunEpisodes.Goal(**{**values, **goal}))
        self.until(sent.done, "acceptance")
        assert sent.result().accepted
        self.handle = sent.result()
        return self.handle.get_result_async()

    def result(self, **goal):
        future = self.run(**goal)
        self.until(future.done, "the result")
        return future.result().result

    def label(self, **request):
        self.until(self.label_client.service_is_ready, "the label service")
        future = self.label_client.call_async(LabelEpisode.Request(**request))
        self.until(future.done, "the label's answer")
        return future.result()

    @property
    def story(self):
        return [
            (e.episode_id, EpisodeState(e.state).name, EpisodeOutcome(e.outcome).name, e.reason)
            for e in self.cell.events
        ]

    @property
    def ended(self):
        return [e for e in self.cell.events if e.state == EpisodeState.ENDED]

    def close(self):
        self.manager.close()
        self.client.destroy()
        self.executor.shutdown(timeout_sec=0.5)
        for node in self.nodes:
            node.destroy_node()


@pytest.fixture
def stage():
    rclpy.init()
    made = []

    def make(*overrides):
        made.append(Stage(*overrides))
        return made[-1]

    yield make
    for item in made:
        item.close()
    rclpy.try_shutdown()


def test_episodes_run_from_reset_to_success_and_timeout(stage):
    show = stage()
    show.cell.success_at = {1: 2}
    result = show.result(episodes=2)
    assert (result.success, result.episodes, result.successes) == (True, 2, 1)
    assert [state for _, state, _, _ in show.story] == [
        *["IDLE"] * 2,  # the manager's start and the goal's
        *["RESETTING", "READY", "RUNNING", "ENDED"] * 2,
    ]
    timeout, success = show.ended
    assert (timeout.outcome, timeout.decisions) == (TIMEOUT, 3)
    assert (success.outcome, success.decisions) == (SUCCESS, 2)
    assert success.labelled_by == "reward"
    assert timeout.robot_seconds == pytest.approx(show.cell.reset_rows[0] / 20 + 3 + 3 * 0.4)
    assert len(set(show.cell.scene_seeds)) == 2
    assert show.cell.resets == 1, "the stop that was latched at the start"
    assert result.robot_seconds == pytest.approx(timeout.robot_seconds + success.robot_seconds)


def test_latched_stop_aborts_is_reset_and_the_episode_is_repeated(stage):
    show = stage()
    show.cell.latch_at = (0, 1)
    result = show.result()
    assert (result.success, result.episodes) == (True, 1)
    assert [(e.episode_id, e.outcome) for e in show.ended] == [
        ("train_000000", ABORTED),
        ("train_000000", TIMEOUT),
    ]
    assert show.ended[0].reason == "REFLEX"
    assert show.cell.resets == 2
    assert len(set(show.cell.scene_seeds)) == 1, "repeated from the same start"


def test_silent_policy_aborts_and_is_named(stage):
    show = stage("session.decision_timeout_s=0.6")
    show.cell.silent_policy = True
    result = show.result()
    assert not result.success
    assert "aborted 4 times in a row" in result.message
    assert {e.outcome for e in show.ended} == {ABORTED}
    assert all("SILENT policy_server" in e.reason for e in show.ended)


def test_operator_overrules_a_running_and_an_ended_episode(stage):
    show = stage("task.max_decisions=999")
    future = show.run()
    show.until(lambda: show.cell.decision > 2, "a few decisions")
    assert show.label(outcome=int(FAILURE), labelled_by="anna").success
    show.until(future.done, "the end")
    assert (show.ended[-1].outcome, show.ended[-1].labelled_by) == (FAILURE, "anna")
    assert show.label(outcome=int(SUCCESS), labelled_by="ben").success
    show.until(lambda: len(show.ended) == 2, "the relabelled event")
    assert (show.ended[-1].episode_id, show.ended[-1].outcome) == ("train_000000", SUCCESS)
    assert not show.label(outcome=0).success
    assert not show.label(episode_id="train_000044", outcome=1).success


def test_missing_truth_aborts_instead_of_counting_as_a_failure(stage):
    show = stage("task.max_decisions=1")
    show.until(lambda: show.client.server_is_ready(), "the action server")
    show.cell.truths.publish = lambda _: None
    result = show.result()
    assert not result.success
    assert all("no ground truth" in e.reason for e in show.ended)


def test_second_goal_is_refused_and_the_first_can_be_cancelled(stage):
    show = stage("task.max_decisions=999")
    future = show.run()
    show.until(lambda: show.cell.decision > 0, "the start")
    second = show.client.send_goal_async(RunEpisodes.Goal(episodes=1))
    show.until(second.done, "the refusal")
    assert not second.result().accepted
    show.handle.cancel_goal_async()
    show.until(future.done, "the cancelled result")
    assert not future.result().result.success
    show.until(lambda: show.ended, "the last event")
    assert (show.ended[-1].outcome, show.ended[-1].reason) == (ABORTED, "CANCELLED")


def test_pacing_holds_training_until_the_learner_has_come_after(stage):
    show = stage("session.learner_lag_episodes=0", "task.max_decisions=1")
    learned = show.cell.on_episode

    def slow_learner(msg):
        learned(msg)
        show.cell.trained_through = ""

    show.nodes[0].destroy_subscription(
        next(iter(s for s in show.cell.subscriptions if s.topic_name.endswith("/episode")))
    )
    show.cell.create_subscription(EpisodeEvent, topics.EPISODE, slow_learner, EVENTS)
    future = show.run(episodes=2)
    show.until(lambda: show.ended, "the first episode")
    for _ in range(20):
        show.executor.spin_once(timeout_sec=0.02)
    assert len(show.ended) == 1 and not future.done()
    show.cell.trained_through = "train_000000"
    show.until(future.done, "the second episode")
    assert future.result().result.episodes == 2


@pytest.fixture
def start_session(tmp_path):
    """Starts the session node as a process of its own."""
    started = []

    def start(show):
        config = show.config
        session = config.session.model_copy(update={"dir": tmp_path})
        write_config(config.model_copy(update={"session": session}), tmp_path / "config.yaml")
        command = [sys.executable, "-m", "tmrl_ros.nodes.session", "--ros-args"]
        command += ["-p", f"config_file:={tmp_path / 'config.yaml'}", "-p", "kind:=finetune"]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended_with(show, process, what):
    """Exit code and words of a process, which ends while the others go on."""
    show.until(lambda: process.poll() is not None, what)
    return process.returncode, process.stderr.read()


JOB = ("session.evaluation_episodes=2", "session.train_episodes=3", "task.max_decisions=2")


def test_job_is_run_measured_resumed_and_reported(stage, tmp_path, start_session):
    show = stage(*JOB)
    show.cell.success_at, show.cell.latch_at = {1: 1}, (0, 0)
    process = start_session(show)
    log = tmp_path / "episodes.jsonl"
    show.until(lambda: log.exists() and "train_000000" in log.read_text(), "the first training")
    process.send_signal(signal.SIGINT)
    code, _ = ended_with(show, process, "the interrupted session's end")
    assert code == 3
    status = read_json(tmp_path / "status.json")
    assert "resumed" in status["message"]
    assert status["problem"]["text"].startswith(
        "evaluate_before_000000 was aborted: the software stop latched (REFLEX)"
    )
    show.until(lambda: show.manager._runner is None, "the end of the cancelled goal")

    code, text = ended_with(show, start_session(show), "the job's end")
    assert code == 0, text
    names = [e.episode_id for e in show.ended if e.outcome != ABORTED]
    assert names == [
        *(f"evaluate_before_{i:06d}" for i in range(2)),
        *(f"train_{i:06d}" for i in range(3)),
        *(f"evaluate_after_{i:06d}" for i in range(2)),
    ], "nothing is run twice"
    methods = {e.episode_id: (e.method, e.learn, e.deterministic) for e in show.ended}
    assert methods["evaluate_before_000000"] == ("base", False, True)
    assert methods["train_000000"] == ("tmrl", True, False)
    assert methods["evaluate_after_000000"] == ("tmrl", False, True)
    seeds = {e.episode_id: e.seed for e in show.ended}
    assert seeds["evaluate_before_000001"] == seeds["evaluate_after_000001"]

    report = json.loads((tmp_path / "report.json").read_text())
    assert report["finished"]
    assert (report["success_before"]["rate"], report["success_before"]["n"]) == (0.5, 2)
    assert report["success_after"]["n"] == 2 and report["episodes"] == 3
    trained = [e for e in show.ended if e.phase == 0]
    # An attempt that the interrupt aborted is in the log if the session still heard of it.
    least = sum(e.robot_seconds for e in trained if e.outcome != ABORTED) / 60
    most = sum(e.robot_seconds for e in trained) / 60
    assert least - 1e-6 <= report["robot_minutes"] <= most + 1e-6
    assert report["latency_ms"]["n"] > 0
    status = read_json(tmp_path / "status.json")
    assert status["done"] and status["message"] == "The job is done."
    assert status["wall_minutes"] * 60 > max(record.wall_s for record in load_records(tmp_path)), (
        "the clock goes on over a resume"
    )
    assert (tmp_path / "report.html").exists()


def test_job_that_cannot_be_finished_says_why(stage, tmp_path, start_session):
    show = stage(*JOB, "session.decision_timeout_s=0.5")
    show.cell.silent_policy = True
    code, text = ended_with(show, start_session(show), "the job's end")
    assert code == 3
    assert "SILENT policy_server" in text
    status = read_json(tmp_path / "status.json")
    assert "SILENT policy_server" in status["message"]
    assert "was aborted: policy_server is silent, no chunk" in status["problem"]["text"]
    assert status["aborted"] == 4
    report = json.loads((tmp_path / "report.json").read_text())
    assert not report["finished"] and len(report["aborted"]) == 4


def test_restarted_manager_gets_the_rest_of_the_job(stage, tmp_path, start_session):
    show = stage(*JOB, "session.train_episodes=0")
    process = start_session(show)
    show.until(lambda: show.ended, "the first episode")
    show.executor.remove_node(show.manager)
    show.manager.destroy_node()
    show.manager = EpisodeManager(config=show.config, gate_settings={"settle_s": 0.3})
    show.nodes[1] = show.manager
    show.executor.add_node(show.manager)
    code, text = ended_with(show, process, "the job's end")
    assert code == 0, text
    records = load_records(tmp_path)
    assert [r.episode_id for r in records if not r.aborted] == [
        "evaluate_before_000000",
        "evaluate_before_000001",
        "evaluate_after_000000",
        "evaluate_after_000001",
    ]


TRUST = (
    *("session.evaluation_episodes=6", "session.train_episodes=16", "task.max_decisions=2"),
    *("session.fallback_window=6", "session.fallback_every=3", "session.fallback_episodes=4"),
    *("method=dsrl", "method.warmup_episodes=0"),
)


def test_a_base_policy_that_is_better_is_probed_first_and_takes_over(
    stage, tmp_path, start_session
):
    show = stage(*TRUST)
    show.cell.success_with = {"base": 1, "probe_z_0.5": 1}
    process = start_session(show)

    def acts():
        return [(r.phase, r.method) for r in load_records(tmp_path) if not r.aborted]

    words = "The base policy acts in training episodes 7 to 10: 0 of the last 6 training episodes"

    def told():
        return read_json(tmp_path / "status.json").get("fallback", "").startswith(words)

    show.until(told, "the notice that the base policy acts")
    show.until(lambda: ("train", "base") in acts(), "the base policy in training")
    process.send_signal(signal.SIGINT)
    ended_with(show, process, "the interrupted session's end")
    show.until(lambda: show.manager._runner is None, "the end of the cancelled goal")
    code, text = ended_with(show, start_session(show), "the job's end")
    assert code == 0, text

    before = [("evaluate_before", "base")] * 6
    probes = [("other", "probe_z_1")] * 5 + [("other", "probe_z_0.5")] * 5
    training = [("train", name) for name in ["dsrl"] * 6 + ["base"] * 4 + ["dsrl"] * 6]
    assert acts() == before + probes + training + [("evaluate_after", "dsrl")] * 6
    learned = {e.episode_id for e in show.ended if e.learn and e.outcome != ABORTED}
    assert learned == {f"train_{index:06d}" for index in range(16)}

    report = json.loads((tmp_path / "report.json").read_text())
    (fallback,) = report["fallbacks"]
    assert (fallback["from_episode"], fallback["episodes"]) == (7, 4)
    assert "noise is kept to 50% of its range" in report["steering_notice"]
    assert [row["verdict"] for row in report["steering"]] == ["destructive", "no harm shown"]
    assert "What was learned is tried again." in text
