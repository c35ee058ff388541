"""The check of a person's demonstrations, from bags."""

import json

import numpy as np
import pytest
from episode_events import event
from played import good_path, line, rest, write_bag

from tmrl_ros.cli.bag import bag as run_bag
from tmrl_ros.core.collect_config import CollectConfig, QualityConfig
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import EpisodeOutcome, EpisodeState
from tmrl_ros.data.collected import read_collected
from tmrl_ros.data.quality import check_bag
from tmrl_ros.policies.pretrain import pretrain
from tmrl_ros.policies.training import TrainingSettings

RULES = CollectConfig()
NAME = "collect_000000"


def jumping():
    path = good_path()
    path[30:, 0] += 0.06
    return path


def without_grasp():
    path = good_path()
    path[:, 3] = 1.0
    return path


BAD = {
    "label": (good_path(), {"outcome_said": EpisodeOutcome.FAILURE}),
    "short": (np.concatenate([good_path()[:8], rest(good_path()[8], 0.2, 0.0)]), {}),
    "long": (np.tile(good_path(), (20, 1)), {}),
    "idle": (good_path(idle_s=6.0), {}),
    "jump": (jumping(), {}),
    "clipped": (good_path(), {"clipped": 3}),
    "camera": (good_path(), {"camera_age_s": 0.4}),
    "grasp": (without_grasp(), {}),
}


def test_a_good_one_has_nothing_wrong(tmp_path):
    found = check_bag(write_bag(tmp_path, NAME, good_path()), RULES)
    assert found.good, found
    assert found.outcome == "success" and found.grasps
    assert found.length_s == pytest.approx(4.0, abs=0.3)
    assert found.jump_m == pytest.approx(0.0866 / 20, abs=0.003)
    assert found.clipped_share == found.camera_age_s == 0.0


@pytest.mark.parametrize("code", BAD)
def test_what_is_wrong_is_named_with_a_remedy(tmp_path, code):
    path, how = BAD[code]
    found = check_bag(write_bag(tmp_path, NAME, path, **how), RULES)
    assert code in {item.code for item in found.findings}, found
    for item in found.findings:
        assert item.text.endswith(".") and (":" in item.text), "what is wrong: what to do"


def test_a_rule_can_be_changed(tmp_path):
    rules = CollectConfig(quality=QualityConfig(needs_grasp=False))
    assert check_bag(write_bag(tmp_path, NAME, without_grasp()), rules).good


def test_a_damaged_bag_is_a_finding_and_no_crash(tmp_path):
    bag = write_bag(tmp_path, NAME, good_path())
    (file,) = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (bag / "metadata.yaml").unlink(missing_ok=True)
    assert "damaged" in {item.code for item in check_bag(bag, RULES).findings}
    file.write_bytes(b"no bag at all")
    assert [item.code for item in check_bag(bag, RULES).findings] == ["damaged"]


def test_a_word_that_came_when_the_bag_was_closed_counts(tmp_path):
    write_bag(tmp_path, NAME, good_path())
    late = event(NAME, EpisodeState.ENDED, EpisodeOutcome.FAILURE, 10, "operator", 9 * 10**9)
    write_bag(tmp_path, "collect_000001", good_path(), later=[late])
    found = {item.path.name: item for item in read_collected(tmp_path, RULES)}
    assert not found[NAME].usable and found["collect_000001"].usable
    assert found[NAME].quality.outcome == "failure"


def test_pretraining_leaves_out_what_failed_unless_asked(tmp_path, capsys):
    bags = tmp_path / "bags"
    write_bag(bags, NAME, good_path())
    write_bag(bags, "collect_000001", without_grasp())
    config = load_config(["task=lift"])
    config = config.model_copy(update={"task": _two_objects(config)})
    short = TrainingSettings(iterations=2, batch_size=4)
    spec = pretrain(config, bags, tmp_path / "checked", short)
    assert spec.training.demonstrations == 1
    said = capsys.readouterr().out
    assert "collect_000001 is left out: The gripper was never closed" in said
    spec = pretrain(config, [bags], tmp_path / "all", short, unchecked=True)
    assert spec.training.demonstrations == 2
    one = pretrain(config, [bags / NAME], tmp_path / "one", short)
    assert one.training.demonstrations == 1


def test_nothing_good_is_one_sentence(tmp_path):
    write_bag(tmp_path, NAME, without_grasp())
    config = load_config(["task=lift"])
    with pytest.raises(OperatorError, match="record some with `tmrl collect`"):
        pretrain(config, tmp_path, tmp_path / "out", TrainingSettings(iterations=2))


def test_the_command_prints_a_table_and_sentences(tmp_path, capsys):
    write_bag(tmp_path, NAME, good_path())
    write_bag(tmp_path, "collect_000001", line([0.4, 0, 0.2], [0.5, 0, 0.2], 2.0, 1.0))
    assert run_bag(["check", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"{NAME} " in said and "good" in said.splitlines()[1]
    assert "collect_000001: The gripper was never closed: press its key" in said
    assert said.splitlines()[-1].startswith("1 of 2 are good")
    assert run_bag(["check", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [len(item["findings"]) for item in found] == [0, 1]


def _two_objects(config):
    red = config.task.objects[0]
    return config.task.model_copy(
        update={"objects": [red, red.model_copy(update={"name": "green"})]}
    )
