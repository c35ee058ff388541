"""Policies of named objects and of point clouds are pre-trained from the same bags."""

import numpy as np
import pytest
from test_dataset import demonstrate

from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.load import load_config
from tmrl_ros.data.dataset import load_demonstrations
from tmrl_ros.policies.bundle import check_bundle, load_bundle
from tmrl_ros.policies.policy import ChunkPolicy
from tmrl_ros.policies.pretrain import default_bundle, pretrain
from tmrl_ros.policies.training import TrainingSettings

SHORT = TrainingSettings(iterations=2, batch_size=4)
POINTS = ["task.pretraining.observation=points", "task.pretraining.encoder_iterations=2"]


@pytest.mark.parametrize(
    ("overrides", "kind", "objects"),
    [
        ([], "objects", ["red"]),
        ([*POINTS, "task.pretraining.keypoints=2"], "points", ["keypoint_0", "keypoint_1"]),
    ],
)
def test_a_bundle_says_what_its_policy_looks_at_and_acts(tmp_path, overrides, kind, objects):
    demonstrate(tmp_path / "00", "collect_000000")
    config = load_config(["task=lift", *overrides])
    spec = pretrain(config, tmp_path, tmp_path / "bundle", SHORT)
    assert (spec.observation.kind, spec.observation.objects) == (kind, objects)
    assert check_bundle(tmp_path / "bundle", config) == spec
    policy = ChunkPolicy(*load_bundle(tmp_path / "bundle"))
    (episode,) = load_demonstrations(tmp_path / "00", pictures=True)
    context = policy.raw_context(episode.observations[0])
    assert context.shape == (3 * len(objects) + 4,)
    z, t = np.zeros((1, 4), np.float32), np.zeros(1, np.float32)
    chunk = policy.sample(context[None], z, t, np.zeros_like(context)[None])
    assert chunk.shape == (1, 8, 4) and np.isfinite(chunk).all()


def test_bags_without_points_are_refused_with_a_sentence(tmp_path):
    demonstrate(tmp_path, "collect_000000", with_points=False)
    with pytest.raises(OperatorError, match="its point cloud is empty.*record some with"):
        pretrain(load_config(["task=lift", *POINTS]), tmp_path, tmp_path / "bundle", SHORT)


def test_a_bundle_of_points_does_not_take_the_place_of_the_task_s(tmp_path):
    task = load_config(["task=lift", *POINTS, f"task.bundle={tmp_path / 'lift'}"]).task
    assert default_bundle(task) == tmp_path / "lift_points"
    task = load_config(["task=lift", *POINTS, f"task.bundle={tmp_path / 'lift_points'}"]).task
    assert default_bundle(task) == tmp_path / "lift_points"
    task = load_config(["task=lift", f"task.bundle={tmp_path / 'lift'}"]).task
    assert default_bundle(task) == tmp_path / "lift"
