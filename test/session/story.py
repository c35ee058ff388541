"""Tells an episode machine or a runner what the others would have said."""

import numpy as np

from tmrl_ros.core.types import (
    ChunkResult,
    ChunkSource,
    EpisodeState,
    Outcome,
    Phase,
    Pose,
    Reward,
    RobotSample,
)
from tmrl_ros.session.commands import Announce, AskScene, EpisodeSpec, Move
from tmrl_ros.session.episode import EpisodeMachine
from tmrl_ros.session.homing import Homing

HOME = np.array([0.45, 0.0, 0.20])
AWAY = np.array([0.60, 0.1, 0.05])
DOWN = np.array([1.0, 0.0, 0.0, 0.0])
NAME = "train_000003"
PERIOD_NS = 50_000_000


def make_homing():
    return Homing(HOME, DOWN, 0.08, 20.0)


def make_spec(**changes):
    values = {
        "episode_id": NAME,
        "index": 3,
        "phase": Phase.TRAIN,
        "seed": 11,
        "task": "lift",
        "prompt": "lift the red cube",
        "method": "tmrl",
        "learn": True,
        "deterministic": False,
        "max_decisions": 3,
    }
    return EpisodeSpec(**{**values, **changes})


def sample(stamp_ns, position=HOME, opening=1.0):
    zero = np.zeros(6)
    pose = Pose(np.asarray(position, float), DOWN)
    return RobotSample(
        stamp_ns, 1, np.zeros(7), np.zeros(7), np.zeros(7), pose, zero, zero, opening * 0.08
    )


def outcome(
    decision,
    stamp_ns,
    *,
    result=ChunkResult.EXECUTED,
    source=ChunkSource.POLICY,
    sequence=0,
    reason="",
    episode=NAME,
    age_s=0.0,
):
    rows = np.zeros((8 if result == ChunkResult.EXECUTED else 0, 4))
    return Outcome(
        stamp_ns,
        sequence,
        episode,
        decision,
        source,
        result,
        reason,
        len(rows),
        0,
        rows,
        rows,
        0.05 * len(rows),
        age_s,
    )


def reward(decision, stamp_ns, *, success=False, failure=False, valid=True, error="", episode=NAME):
    return Reward(stamp_ns, decision, episode, decision, valid, 0.5, 0.0, success, failure, error)


class Story:
    """A machine, the wall time, the robot's clock and everything that was announced."""

    def __init__(self, **changes):
        self.machine = EpisodeMachine(
            make_spec(**changes),
            make_homing(),
            timeout_s=10.0,
            scene_timeout_s=30.0,
            first_piece=100,
        )
        self.now_s = 0.0
        self.stamp_ns = 5_000_000_000
        self.announced = []
        self.moves = []
        self.scenes = []
        self.take(self.machine.start(self.stamp_ns, self.now_s))

    def take(self, commands):
        for command in commands:
            if isinstance(command, Announce):
                self.announced.append(command.episode)
            elif isinstance(command, Move):
                self.moves.append(command.chunk)
            elif isinstance(command, AskScene):
                self.scenes.append(command)

    @property
    def states(self):
        return [episode.state for episode in self.announced]

    @property
    def last(self):
        return self.announced[-1]

    def robot(self, position=HOME, opening=1.0, later_ns=PERIOD_NS):
        self.stamp_ns += later_ns
        at_ns = self.stamp_ns
        self.take(
            self.machine.on_robot(at_ns, lambda: sample(at_ns, position, opening), self.now_s)
        )

    def piece_done(self, **how):
        number = how.pop("sequence", self.machine.last_piece)
        at = outcome(0, self.stamp_ns, source=ChunkSource.RESET, sequence=number, **how)
        self.take(self.machine.on_outcome(at, self.now_s))

    def scene(self, success=True, message=""):
        self.stamp_ns += 60 * PERIOD_NS
        self.take(self.machine.on_scene(success, message, self.now_s))

    def start_running(self):
        self.robot()
        self.scene()
        assert self.last.state == EpisodeState.RUNNING
        return self

    def reward(self, decision, **how):
        stamp_ns = how.pop("stamp_ns", self.stamp_ns)
        self.take(self.machine.on_reward(reward(decision, stamp_ns, **how), self.now_s))

    def outcome(self, decision, **how):
        self.stamp_ns += 8 * PERIOD_NS
        stamp_ns = how.pop("stamp_ns", self.stamp_ns)
        self.take(self.machine.on_outcome(outcome(decision, stamp_ns, **how), self.now_s))

    def decide(self, decision):
        self.machine.on_observation()
        self.reward(decision)
        self.machine.on_chunk(NAME, decision)
        self.outcome(decision)

    def wait(self, seconds):
        self.now_s += seconds
        self.take(self.machine.on_time(self.now_s))
