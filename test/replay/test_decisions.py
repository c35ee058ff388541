"""Decisions made again from what a chunk tells about itself."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import Chunk, ChunkSource, Pose, RobotMode, RobotSample
from tmrl_ros.data.decode import RecordedObservation
from tmrl_ros.learning.acting import ActingPolicy
from tmrl_ros.learning.choosing.reach import Reach
from tmrl_ros.policies.onnx_backend import load_policy
from tmrl_ros.replay.decisions import decide_again

BUNDLE = Path(__file__).parents[2] / "bundles" / "lift"
POLICY = load_policy(BUNDLE)[0]
BOX = Reach((np.array([0.3, -0.35, 0.0]), np.array([0.7, 0.35, 0.5])))
STILL = RobotSample(
    1,
    1,
    np.zeros(7),
    np.zeros(7),
    np.zeros(7),
    Pose(np.array([0.45, 0.0, 0.2]), np.array([1.0, 0, 0, 0])),
    np.zeros(6),
    np.zeros(6),
    0.08,
    RobotMode.IDLE,
)


def observation(sequence: int) -> RecordedObservation:
    return RecordedObservation(
        stamp_ns=1,
        sequence=sequence,
        episode_id="train_000001",
        decision=0,
        robot=STILL,
        prompt=load_config(["task=lift"]).task.prompt,
        state=np.array([0.45, 0.0, 0.2, 1.0], np.float32),
        object_names=("red",),
        object_positions=np.array([[0.5, 0.05, 0.02]], np.float32),
        object_visible=np.ones(1, bool),
        object_age_s=np.zeros(1),
    )


def chunk(name: str, sequence: int, **acting: object) -> Chunk:
    """What the policy server would have published for the observation."""
    method = MethodConfig(name=name, warmup_episodes=1, edit_m=0.05)
    policy = ActingPolicy(POLICY, method, BOX.workspace)
    policy.begin_episode(
        **{"index": 0, "seed": 3, "method": name, "deterministic": False, **acting}
    )
    made = policy.decide(POLICY.raw_context(observation(sequence)))
    return Chunk(
        stamp_ns=1,
        sequence=sequence,
        episode_id="train_000001",
        decision=0,
        source=ChunkSource.POLICY,
        action_space="cartesian_relative",
        reference_pose=STILL.ee_pose,
        orientation=np.array([1.0, 0, 0, 0]),
        actions=made.actions,
        execute_steps=8,
        control_rate_hz=20.0,
        frame_id="panda_link0",
        features=made.features,
        z=made.z,
        t_context=made.t_context,
        eps_context=made.eps_context,
        edit=made.edit,
        candidates=made.candidates,
        actor=made.actor,
    )


@pytest.mark.parametrize("name", ["tmrl", "dsrl", "tmrl_paper"])
def test_what_was_decided_comes_out_again(name: str) -> None:
    (again,) = decide_again(POLICY, [chunk(name, 7)], [observation(7)], BOX)
    assert again.features == 0.0
    assert again.chunk_m is not None and again.chunk_m < 1e-5


def test_an_edit_is_made_again_too() -> None:
    made = chunk("tmrl", 7)
    edit = np.array([0.03, 0.0, 0.0], np.float32)
    rows = np.arange(1, 9)[:, None] / 8
    moved = made.actions.copy()
    moved[:, :3] += rows * edit
    (again,) = decide_again(
        POLICY, [replace(made, actions=moved, edit=edit)], [observation(7)], BOX
    )
    assert again.chunk_m == pytest.approx(0.0, abs=1e-5)
    (without,) = decide_again(POLICY, [replace(made, actions=moved)], [observation(7)], BOX)
    assert without.chunk_m == pytest.approx(0.03, abs=1e-5)


def test_noise_in_every_row_is_not_told_by_a_chunk() -> None:
    (again,) = decide_again(POLICY, [chunk("tmrl", 7, method="base")], [observation(7)], BOX)
    assert again.chunk_m is None and again.other_m > 0


def test_resets_and_chunks_without_an_observation_are_passed_over() -> None:
    made = chunk("tmrl", 7)
    reset = replace(made, source=ChunkSource.RESET)
    assert decide_again(POLICY, [reset, replace(made, sequence=8)], [observation(7)], BOX) == []
