import json

import h5py
import numpy as np
import pytest

from tmrl_ros.core.load import load_config
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.exchange.robomimic import Robomimic, load_robomimic
from tmrl_ros.policies.demonstrations import control_steps
from tmrl_ros.policies.pretrain import pretrain
from tmrl_ros.policies.training import TrainingSettings

BASE = (-0.56, 0.0, 0.912)
HOW = Robomimic("lift the red cube", {"red": 0})
LENGTH = 12


def demo(number):
    rng = np.random.default_rng(number)
    return {
        "actions": rng.uniform(-1.2, 1.2, (LENGTH, 7)),
        "position": rng.normal(size=(LENGTH, 3)),
        "fingers": np.stack([np.linspace(0, 0.04, LENGTH), -np.linspace(0, 0.04, LENGTH)], axis=1),
        "object": rng.normal(size=(LENGTH, 10)),
        "picture": rng.integers(0, 256, (LENGTH, 8, 6, 3), dtype=np.uint8),
    }


def write(path, numbers=(0, 1, 10), env_args="", without=""):
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        if env_args:
            data.attrs["env_args"] = env_args
        for number in numbers:
            values, group = demo(number), data.create_group(f"demo_{number}")
            group["actions"] = values["actions"]
            columns = {
                "robot0_eef_pos": values["position"],
                "robot0_gripper_qpos": values["fingers"],
                "object": values["object"],
                "agentview_image": values["picture"],
            }
            for name, column in columns.items():
                if name != without:
                    group[f"obs/{name}"] = column
    return path


def test_every_value_of_a_file_is_where_ours_has_it(tmp_path):
    found = load_robomimic(write(tmp_path / "lift.hdf5"), HOW, pictures=True)
    assert [item.episode_id for item in found] == ["demo_0", "demo_1", "demo_10"]
    for item, number in zip(found, (0, 1, 10), strict=True):
        said = demo(number)
        assert item.prompt == "lift the red cube" and item.object_names == ("red",)
        assert np.allclose(item.state[:, :3], said["position"] - BASE, atol=1e-6)
        assert np.allclose(item.state[:, 3], said["fingers"][:, 0] / 0.04, atol=1e-6)
        assert np.allclose(item.objects[:, 0], said["object"][:, :3] - BASE, atol=1e-6)
        asked = 0.05 * np.clip(said["actions"][:, :3], -1, 1)
        assert np.allclose(item.actions[:, 0, :3], asked, atol=1e-6)
        opening = (1 - np.clip(said["actions"][:, 6], -1, 1)) / 2
        assert np.allclose(item.actions[:, 0, 3], opening, atol=1e-6)
        assert np.allclose(
            item.trajectory.target_positions, said["position"] - BASE + asked, atol=1e-6
        )
        assert (np.diff(item.trajectory.stamp_ns) == 50_000_000).all()
        pictures = [seen.images["agentview"] for seen in item.observations]
        assert np.array_equal(pictures, said["picture"])


def test_the_file_s_own_controller_and_rate_count(tmp_path):
    options = {"env_kwargs": {"control_freq": 10, "controller_configs": {"output_max": [0.02] * 6}}}
    path = write(tmp_path / "slow.hdf5", env_args=json.dumps(options))
    item = load_robomimic(path, HOW)[0]
    said = 0.02 * np.clip(demo(0)["actions"][:, :3], -1, 1)
    assert np.allclose(item.actions[:, 0, :3], said, atol=1e-6)
    assert (np.diff(item.trajectory.stamp_ns) == 100_000_000).all()


def test_pretraining_takes_the_file_row_by_row(tmp_path):
    path = write(tmp_path / "lift.hdf5")
    steps = control_steps(load_robomimic(path, HOW)[0], 4, 0.08)
    assert steps.chunks.shape == (LENGTH, 4, 4)
    config = load_config(["task=lift"])
    short = TrainingSettings(iterations=2, batch_size=4)
    spec = pretrain(config, path, tmp_path / "bundle", short)
    assert (spec.training.demonstrations, spec.training.samples) == (3, 3 * LENGTH)


@pytest.mark.parametrize("without", ["robot0_eef_pos", "object"])
def test_a_file_that_lacks_something_is_one_sentence(tmp_path, without):
    path = write(tmp_path / "lift.hdf5", without=without)
    with pytest.raises(BagError, match=f"no HDF5 file in robomimic's layout.*{without}"):
        load_robomimic(path, HOW)


def test_a_file_that_is_no_hdf5_is_one_sentence(tmp_path):
    (tmp_path / "lift.hdf5").write_text("no")
    with pytest.raises(BagError, match="no HDF5 file in robomimic's layout"):
        load_robomimic(tmp_path / "lift.hdf5", HOW)
