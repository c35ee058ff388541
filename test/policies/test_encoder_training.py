"""Encoders learn from demonstrations alone where the gripper is going to act."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pictures import observed, scene

from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import EpisodeOutcome
from tmrl_ros.data.dataset import Demonstration, Trajectory
from tmrl_ros.policies.demonstrations import ControlSteps, control_steps
from tmrl_ros.policies.encoder_training import EncoderSettings, gripper_acts
from tmrl_ros.policies.encoders import PointEncoderSpec, build_seeded
from tmrl_ros.policies.keypoint_data import encoder_data, learn_keypoints, with_keypoints

STEPS = 8  # control steps of a made-up demonstration, one observation every second one


def steps_with(openings: list[float]) -> ControlSteps:
    """Control steps of these targets; the tool is at x = 0.1 times the number of the step."""
    count = len(openings)
    states = np.zeros((count, 4), np.float32)
    states[:, 0] = 0.1 * np.arange(count)
    chunks = np.zeros((count, 2, 4), np.float32)
    chunks[:, 0, 3] = openings
    return ControlSteps(np.arange(0, count, 2), states, chunks, np.ones(count, bool), count)


def test_the_last_closing_counts_and_misses_do_not():
    at, to_come = gripper_acts(steps_with([1, 1, 0, 1, 1, 0, 0, 0]))
    assert np.allclose(at[:, 0, 0], 0.5)
    assert to_come[:, 0].tolist() == [True, True, True, False], "steps 0, 2 and 4 are before it"
    assert not to_come[:, 1].any(), "the opening after the miss is not an opening after the last"


def test_an_opening_after_the_last_closing_counts_as_well():
    at, to_come = gripper_acts(steps_with([1, 0, 1, 1, 0, 0, 1, 1]))
    assert np.allclose(at[0, :, 0], [0.4, 0.6])
    assert to_come.tolist() == [[True, True]] * 3 + [[False, True]]


def test_a_gripper_that_never_closes_foretells_nothing():
    assert not gripper_acts(steps_with([1, 1, 1, 1]))[1].any()


def demonstration(rng: np.random.Generator, place: np.ndarray) -> Demonstration:
    """The tool goes from above to a red ball and closes there."""
    path = np.concatenate([np.linspace([0.45, 0.0, 0.2], place, STEPS - 1), place[None]])
    widths = np.where(np.arange(STEPS) < STEPS - 2, 0.08, 0.0)
    quaternions = np.tile([1.0, 0.0, 0.0, 0.0], (STEPS, 1))
    stamps = np.arange(STEPS)
    rows = STEPS // 2
    seen = []
    for row in range(rows):
        points, colors = scene(rng, place)
        state = np.array([*path[2 * row], 1.0], np.float32)
        seen.append(observed(rng, points=points, colors=colors, state=state))
    return Demonstration(
        episode_id="demo",
        outcome=EpisodeOutcome.SUCCESS,
        prompt="lift the red cube",
        object_names=("red",),
        sequence=np.arange(rows),
        state=np.stack([item.state for item in seen]),
        objects=np.zeros((rows, 1, 3), np.float32),
        visible=np.ones((rows, 1), bool),
        actions=np.zeros((rows, 1, 4), np.float32),
        execute_steps=np.full(rows, 2),
        trajectory=Trajectory(stamps, path, quaternions, widths, stamps, path, quaternions, widths),
        observations=tuple(seen),
    )


def somewhere(rng: np.random.Generator) -> np.ndarray:
    """In the small part of the table that demonstrations show."""
    return rng.uniform([0.44, -0.05, 0.02], [0.52, 0.05, 0.03])


def test_keypoints_find_what_is_grasped_also_where_it_never_was():
    config = load_config(["task=lift", "task.pretraining.observation=points"])
    rng = np.random.default_rng(0)
    demonstrations = [demonstration(rng, somewhere(rng)) for _ in range(40)]
    untrained = build_seeded(PointEncoderSpec.of(config.cameras, 1), 0)
    settings = EncoderSettings(iterations=200, batch_size=32)
    encoder = learn_keypoints(demonstrations, untrained, config, settings)
    elsewhere = [np.array([0.60, 0.20, 0.02]), np.array([0.40, -0.20, 0.02])]
    clouds = [scene(rng, place) for place in elsewhere]
    found = encoder.keypoints_of([observed(rng, points=p, colors=c) for p, c in clouds])
    errors_m = np.linalg.norm(found[:, 0] - elsewhere, axis=-1)
    assert errors_m.max() < 0.03, errors_m


def test_training_is_the_same_every_time():
    config = load_config(["task=lift"])
    rng = np.random.default_rng(1)
    demonstrations = [demonstration(rng, somewhere(rng)) for _ in range(3)]
    weights = []
    for _ in range(2):
        untrained = build_seeded(PointEncoderSpec.of(config.cameras, 2), 3)
        settings = EncoderSettings(iterations=3, batch_size=8, seed=3)
        encoder = learn_keypoints(demonstrations, untrained, config, settings)
        weights.append(torch.cat([value.flatten() for value in encoder.state_dict().values()]))
    assert torch.equal(*weights)


def test_keypoints_take_the_place_of_objects_in_a_demonstration():
    encoder = build_seeded(PointEncoderSpec.of(load_config(["task=lift"]).cameras, 2), 0)
    rng = np.random.default_rng(2)
    seen = demonstration(rng, somewhere(rng))
    changed = with_keypoints(seen, encoder)
    assert changed.object_names == ("keypoint_0", "keypoint_1") and not changed.observations
    assert np.array_equal(changed.objects, encoder.keypoints_of(seen.observations))
    assert np.array_equal(changed.state, seen.state)


def test_a_row_of_training_is_an_observation_with_what_followed_it():
    config = load_config(["task=lift"])
    rng = np.random.default_rng(3)
    seen = demonstration(rng, somewhere(rng))
    encoder = build_seeded(PointEncoderSpec.of(config.cameras, 1), 0)
    stopped = replace(seen, execute_steps=np.full(STEPS // 2, 5))
    data = encoder_data([seen, stopped], encoder, config)
    steps = control_steps(seen, config.task.pretraining.horizon, 0.08)
    assert steps is not None and len(data.actions) == len(steps.starts) == STEPS // 2
    assert np.allclose(data.acted[0, 0], seen.trajectory.ee_positions[-1])
    with pytest.raises(ValueError, match="no successful demonstration with pictures"):
        encoder_data([], encoder, config)
