"""Who drives when demonstrations are collected, and what runs beside them."""

import pytest

from tmrl_ros.cli.collect import collect_overrides
from tmrl_ros.cli.evaluate import evaluation_overrides
from tmrl_ros.cli.offline import replay_words
from tmrl_ros.cli.session_folder import session_for
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.graph import nodes_for
from tmrl_ros.core.load import load_config

ARM = ["robot=franka_fr3", "safety=panda_table", "cameras=sim_two"]


def test_a_person_drives_and_judges_unless_something_else_is_asked_for(tmp_path):
    config = load_config(collect_overrides(["task=lift"]))
    assert config.by_person and config.robot.realtime and not config.judged
    names = [node.name for node in nodes_for(config, tmp_path, "collect")]
    assert "demonstrator" in names
    assert not {"policy_server", "reward", "learner"} & set(names)


def test_a_policy_may_act_instead(tmp_path):
    words = ["task=lift", "method=base"]
    assert collect_overrides(words) == words
    names = [node.name for node in nodes_for(load_config(words), tmp_path, "collect")]
    assert {"policy_server", "reward"} <= set(names) and "demonstrator" not in names
    assert collect_overrides(["method.name=scripted"]) == ["method.name=scripted"]


def test_what_is_asked_for_counts():
    config = load_config(collect_overrides(["reward=simulator", "robot.realtime=false"]))
    assert config.by_person and config.judged and not config.robot.realtime
    assert not load_config(collect_overrides(ARM)).robot.realtime, "a real arm is in real time"


def test_time_is_counted_in_chunks_and_leaves_room_for_their_numbers():
    words = ["method=person", "reward=none"]
    assert load_config(words).max_decisions == 150
    long = [*words, "collect.rows=2", "collect.max_episode_s=300"]
    assert load_config(long).max_decisions == 998
    assert load_config(["task=lift"]).max_decisions == 12


def test_nobody_to_judge_is_refused():
    with pytest.raises(ConfigurationError, match=r"reward.backend=none leaves nobody to judge"):
        load_config(["reward=none"])


@pytest.mark.parametrize("kind", ["finetune", "deploy", "evaluate", "up"])
def test_a_person_drives_only_where_demonstrations_are_collected(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="method=person is for collecting demonstrations"):
        session_for(kind, ["method=person", "reward=none"])


def test_evaluate_is_the_same_from_both_launchers(tmp_path, root):
    lift, stack = root / "bundles" / "lift", root / "bundles" / "stack"
    words = [f"old={lift}", f"new={stack}", "task=lift", "comparison.starts=9"]
    config = load_config(evaluation_overrides(words, tmp_path))
    assert [item.name for item in config.comparison.contenders] == ["old", "new"]
    assert config.method.name == "base" and config.task.name == "lift"
    with pytest.raises(ConfigurationError, match="Name two policies or more"):
        evaluation_overrides([f"old={lift}"], tmp_path)


def test_replay_takes_the_arguments_of_its_launch_file():
    values = {"session": "sessions/a", "bundle": "b", "episodes": "3", "overrides": "--json"}
    assert replay_words(values) == [
        *("sessions/a", "--json", "task.bundle=b", "--episodes", "3"),
    ]
    with pytest.raises(ConfigurationError, match="session:= is empty"):
        replay_words({**values, "session": ""})
