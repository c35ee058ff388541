"""LeRobotDataset v3: what we write is in its documented form, and comes back value by value."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from recorded import STEPS, item, sample, target
from sessions import WIDTH_M, open_bags, put, record, story

from tmrl_msgs.msg import Observation
from tmrl_ros.analysis.digest import digest_session
from tmrl_ros.cli.main import main
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import EpisodeOutcome, Outcome
from tmrl_ros.data.bag_reader import bag_folders, read_episode
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.data.dataset import demonstration_from
from tmrl_ros.exchange.frames import ACTING, session_frames
from tmrl_ros.exchange.lerobot_read import Columns, load_lerobot
from tmrl_ros.exchange.lerobot_write import write_lerobot
from tmrl_ros.exchange.video import read_video
from tmrl_ros.policies.demonstrations import control_steps
from tmrl_ros.policies.pretrain import pretrain
from tmrl_ros.policies.training import TrainingSettings

SUCCESS, TIMEOUT = EpisodeOutcome.SUCCESS, EpisodeOutcome.TIMEOUT
DECISIONS = 3
ROWS = DECISIONS * STEPS


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    return record(folder, [SUCCESS, TIMEOUT, SUCCESS], decisions=DECISIONS)


@pytest.fixture(scope="module", params=[True, False], ids=["video", "lossless"])
def dataset(request, session, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "lift"
    flag = [] if request.param else ["--lossless"]
    assert main(["bag", "export", str(session), "--lerobot", str(out), *flag]) == 0
    return out


def ours(session):
    """Demonstrations as they are read from the bags themselves."""
    records = [read_episode(bag, images=True, robot=True) for bag in bag_folders(session)]
    return [demonstration_from(item, sources=ACTING, pictures=True) for item in records]


def test_files_and_columns_are_those_that_the_format_documents(dataset):
    info = json.loads((dataset / "meta" / "info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["fps"] == 20
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 3 * ROWS, 1)
    assert info["splits"] == {"train": "0:3"}
    assert info["features"]["action"] == {
        "dtype": "float32",
        "shape": [4],
        "names": ["x", "y", "z", "gripper"],
    }
    table = pyarrow.parquet.read_table(dataset / "data" / "chunk-000" / "file-000.parquet")
    is_video = info["video_path"] is not None
    stored = {k for k, item in info["features"].items() if item["dtype"] != "video"}
    assert set(table.column_names) == stored
    assert table["index"].to_pylist() == list(range(3 * ROWS))
    assert table["frame_index"].to_pylist() == 3 * list(range(ROWS))
    assert table["timestamp"].to_pylist() == pytest.approx(3 * [k / 20 for k in range(ROWS)])
    assert str(table.schema.field("action").type).startswith("fixed_size_list<element: float")
    tasks = pyarrow.parquet.read_table(dataset / "meta" / "tasks.parquet")
    assert tasks.to_pylist() == [{"task_index": 0, "__index_level_0__": "lift the red cube"}]
    index = json.loads(tasks.schema.metadata[b"pandas"])["index_columns"]
    assert index == ["__index_level_0__"], "pandas reads the words as the table's index"
    episodes = dataset / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    lines = pyarrow.parquet.read_table(episodes).to_pylist()
    spans = [(line["dataset_from_index"], line["dataset_to_index"]) for line in lines]
    assert spans == [(k * ROWS, (k + 1) * ROWS) for k in range(3)]
    assert [line["tasks"] for line in lines] == 3 * [["lift the red cube"]]
    assert len(lines[0]["stats/observation.images.wrist/mean"]) == 3
    if is_video:
        key = "observation.images.wrist"
        frames = list(read_video(dataset / "videos" / key / "chunk-000" / "file-000.mp4"))
        assert [time for time, _ in frames] == pytest.approx([k / 20 for k in range(3 * ROWS)])
        begins = [line[f"videos/{key}/from_timestamp"] for line in lines]
        assert begins == pytest.approx([k * ROWS / 20 for k in range(3)])


def test_statistics_are_those_of_the_columns(dataset):
    stats = json.loads((dataset / "meta" / "stats.json").read_text())
    table = pyarrow.parquet.read_table(dataset / "data" / "chunk-000" / "file-000.parquet")
    action = np.array(table["action"].to_pylist())
    for name, value in (("mean", action.mean(0)), ("std", action.std(0)), ("max", action.max(0))):
        assert np.allclose(stats["action"][name], value, atol=1e-6), name
    assert stats["action"]["count"] == [3 * ROWS]
    assert np.shape(stats["observation.images.wrist"]["mean"]) == (3, 1, 1)


def test_success_stands_in_the_last_row_of_an_episode_that_succeeded(dataset):
    table = pyarrow.parquet.read_table(dataset / "data" / "chunk-000" / "file-000.parquet")
    succeeded = np.flatnonzero(table["next.success"].to_numpy(zero_copy_only=False))
    assert succeeded.tolist() == [ROWS - 1, 3 * ROWS - 1]
    assert np.flatnonzero(table["next.reward"].to_numpy()).tolist() == succeeded.tolist()
    done = np.flatnonzero(table["next.done"].to_numpy(zero_copy_only=False))
    assert done.tolist() == [ROWS - 1, 2 * ROWS - 1, 3 * ROWS - 1]


def test_a_session_comes_back_value_by_value(session, dataset):
    found = load_lerobot(dataset, only_successful=False)
    assert len(found) == 3
    for before, after in zip(ours(session), found, strict=True):
        assert (after.episode_id, after.prompt) == (before.episode_id, before.prompt)
        assert (after.outcome is SUCCESS) == (before.outcome is SUCCESS)
        assert after.object_names == before.object_names
        assert np.array_equal(after.state, before.state)
        assert np.array_equal(after.objects, before.objects)
        assert np.array_equal(after.visible, before.visible)
        assert np.array_equal(after.execute_steps, before.execute_steps)
        sent, got = before.trajectory, after.trajectory
        assert np.array_equal(got.target_stamp_ns, sent.target_stamp_ns)
        assert np.array_equal(np.float32(got.target_positions), np.float32(sent.target_positions))
        assert np.allclose(got.target_gripper_width_m, sent.target_gripper_width_m, atol=1e-8)
        assert np.array_equal(got.stamp_ns, sent.stamp_ns[:ROWS])
        assert np.array_equal(np.float32(got.ee_positions), np.float32(sent.ee_positions[:ROWS]))
        there, back = (control_steps(item, 8, WIDTH_M) for item in (before, after))
        assert np.allclose(there.states, back.states, atol=1e-6)
        assert np.allclose(there.chunks, back.chunks, atol=1e-6)


def test_chunks_are_the_targets_that_followed_from_what_was_measured(dataset):
    after = load_lerobot(dataset)[0]
    for k in range(DECISIONS):
        measured = np.float32(sample(k * STEPS).ee_pose.position)
        for step in range(STEPS):
            asked = np.float32(target(k * STEPS + step).pose.position) - measured
            assert np.allclose(after.actions[k, step, :3], asked, atol=1e-6)


def test_pictures_come_back_exactly_or_as_a_video_shows_them(session, dataset):
    info = json.loads((dataset / "meta" / "info.json").read_text())
    after = load_lerobot(dataset, only_successful=False, pictures=True)
    for before, now in zip(ours(session), after, strict=True):
        assert len(now.observations) == len(before.observations) == DECISIONS
        for seen, shown in zip(before.observations, now.observations, strict=True):
            for camera, picture in seen.images.items():
                if info["video_path"] is None:
                    assert np.array_equal(shown.images[camera], picture)
                else:  # the tests' pictures are noise, which a video blurs; others are further off
                    back = shown.images[camera].astype(int)
                    others = [item.images[camera] for item in before.observations]
                    off = [np.abs(back - other).mean() for other in others]
                    assert np.abs(back - picture).mean() == min(off)


def test_failures_are_left_out_where_they_are_not_wanted(session, dataset, tmp_path):
    assert [item.episode_id for item in load_lerobot(dataset)] == ["train_000000", "train_000002"]
    out = tmp_path / "good"
    words = ["bag", "export", str(session), "--lerobot", str(out), "--only-successful"]
    assert main(words) == 0
    assert json.loads((out / "meta" / "info.json").read_text())["total_episodes"] == 2


def test_a_scene_of_one_object_comes_back_too(tmp_path):
    bags, numbers = open_bags(tmp_path / "session"), {}
    for piece in story(0, SUCCESS):
        if isinstance(piece, Observation):
            piece.object_names, piece.object_visible = ["red"], [piece.decision != 1]
            piece.object_positions = piece.object_positions[:3]
            piece.object_age_s = piece.object_age_s[:1]
        put(bags, item(piece), numbers)
    bags.close()
    words = ["bag", "export", str(tmp_path / "session"), "--lerobot", str(tmp_path / "lift")]
    assert main(words) == 0
    (before,), (after,) = ours(tmp_path / "session"), load_lerobot(tmp_path / "lift")
    assert after.object_names == ("red",) and np.array_equal(after.objects, before.objects)
    assert after.visible.tolist() == before.visible.tolist() == [[True], [False], [True]]


def test_rows_in_which_a_person_moved_the_arm_are_marked(tmp_path):
    bags, numbers = open_bags(tmp_path / "session"), {}
    for piece in story(0, SUCCESS):
        if isinstance(piece, Outcome) and piece.sequence == 101:  # the second decision
            piece = replace(piece, sources=np.array([0, 2, 2, 0], np.uint8))
        put(bags, item(piece), numbers)
    bags.close()
    (episode,) = session_frames(tmp_path / "session")
    assert np.flatnonzero(episode.human).tolist() == [STEPS + 1, STEPS + 2]
    write_lerobot([episode], tmp_path / "lift", robot_type="panda", video=False)
    table = pyarrow.parquet.read_table(tmp_path / "lift/data/chunk-000/file-000.parquet")
    assert np.array_equal(table["human"].to_numpy(zero_copy_only=False), episode.human)
    (row,) = [row for row in digest_session(tmp_path / "session").decisions if row.steps_human]
    assert (row.decision, row.steps_human) == (1, 2)


def test_a_policy_is_pretrained_from_it(dataset, tmp_path):
    config = load_config(["task=lift"])
    short = TrainingSettings(iterations=2, batch_size=4)
    spec = pretrain(config, dataset, tmp_path / "bundle", short)
    assert spec.training.demonstrations == 2 and spec.training.prompts == ["lift the red cube"]
    points = load_config(["task=lift", "task.pretraining.observation=points"])
    with pytest.raises(OperatorError, match="lenses and poses"):
        pretrain(points, dataset, tmp_path / "other", short)


def test_relative_actions_and_other_columns_of_foreign_data_sets_are_understood():
    columns = Columns(position=(1, 2, 3), gripper=0, closed=1.0, open=-1.0)
    rows = columns.rows(np.array([[1.0, 0.1, 0.2, 0.3], [-1.0, 0.4, 0.5, 0.6]]))
    assert np.allclose(rows, [[0.1, 0.2, 0.3, 0.0], [0.4, 0.5, 0.6, 1.0]])


def test_a_rate_and_a_folder_that_do_not_fit_are_one_sentence(session, tmp_path, capsys):
    (tmp_path / "full").write_text("something")
    words = ["bag", "export", str(session), "--lerobot", str(tmp_path)]
    assert main(words) == 2 and "is not an empty folder" in capsys.readouterr().err
    episodes = session_frames(session)
    object.__setattr__(episodes[1], "object_names", ("blue",))
    with pytest.raises(OperatorError, match="do not fit into one data set"):
        write_lerobot(episodes, tmp_path / "new", robot_type="panda")


@pytest.mark.parametrize("damage", ["data/chunk-000/file-000.parquet", "meta/info.json"])
def test_a_damaged_data_set_is_one_sentence(session, tmp_path, damage):
    out = tmp_path / "lift"
    write_lerobot(session_frames(session), out, robot_type="panda", video=False)
    file = out / damage
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BagError, match="is no complete LeRobot data set"):
        load_lerobot(out)


def test_an_older_version_is_named(session, tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text('{"codebase_version": "v2.1"}')
    with pytest.raises(BagError, match=r"version v2\.1"):
        load_lerobot(tmp_path)


# `make vla` installs lerobot's models without what its data sets need.
HERE = find_spec("lerobot") and find_spec("datasets")
PYTHON_WITH_LEROBOT = sys.executable if HERE else os.environ.get("TMRL_LEROBOT_PYTHON", "")
SCRIPT = """
import json, sys
from lerobot.datasets.lerobot_dataset import LeRobotDataset
data = LeRobotDataset("lab/lift", root=sys.argv[1], video_backend="pyav",
                      delta_timestamps={"action": [k / 20 for k in range(4)]})
rows = [data[k] for k in range(len(data))]
print(json.dumps({
    "episodes": data.num_episodes, "rows": len(data), "fps": data.fps,
    "cameras": list(data.meta.camera_keys), "task": rows[0]["task"],
    "shape": list(rows[0]["observation.images.wrist"].shape),
    "state": [row["observation.state"].tolist() for row in rows],
    "action": [row["action"].tolist() for row in rows],
    "done": [bool(row["next.done"]) for row in rows],
    "mean": data.meta.stats["action"]["mean"].tolist(),
}))
"""


@pytest.mark.skipif(
    not PYTHON_WITH_LEROBOT,
    reason="lerobot[dataset] is not installed; TMRL_LEROBOT_PYTHON may name a Python that has it",
)
def test_lerobot_itself_loads_what_we_write(dataset):
    done = subprocess.run(
        [PYTHON_WITH_LEROBOT, "-c", SCRIPT, str(dataset)],
        capture_output=True,
        text=True,
        timeout=300,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(Path(dataset).parent),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        },
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["episodes"], found["rows"], found["fps"]) == (3, 3 * ROWS, 20)
    assert found["cameras"] == ["observation.images.exterior", "observation.images.wrist"]
    assert (found["task"], found["shape"]) == ("lift the red cube", [3, 12, 16])
    table = pyarrow.parquet.read_table(dataset / "data" / "chunk-000" / "file-000.parquet")
    assert np.array_equal(found["state"], table["observation.state"].to_pylist())
    action = np.array(table["action"].to_pylist())
    assert np.array_equal(np.array(found["action"])[0], action[:4]), "a chunk by timestamps"
    assert found["done"] == table["next.done"].to_pylist()
    assert np.allclose(found["mean"], action.mean(0), atol=1e-6)
