import shutil
import subprocess
import sys

import pytest
import yaml

from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.load import (
    DEFAULTS,
    change_config,
    config_folder,
    config_hash,
    load_config,
    read_config,
    write_config,
)

TASKS = sorted(path.stem for path in (config_folder() / "tasks").glob("*.yaml"))


def mistake(*overrides, folder=None):
    with pytest.raises(ConfigurationError) as caught:
        load_config(overrides, folder=folder)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.fixture
def folder(tmp_path):
    """A copy of the configuration that a test may spoil."""
    for source in config_folder().rglob("*.yaml"):
        target = tmp_path / source.relative_to(config_folder())
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text())
    return tmp_path


@pytest.mark.parametrize("task", TASKS)
def test_every_shipped_task_resolves(task):
    assert load_config([f"task={task}"]).task.name == task


def test_every_section_has_a_shipped_file():
    assert set(load_config().model_dump()) == set(DEFAULTS)


def test_an_override_wins_over_the_file():
    config = load_config(["method.batch_size=64", "task=lift", "task.prompt=lift it"])
    assert config.method.batch_size == 64
    assert config.task.prompt == "lift it"


def test_the_last_of_two_overrides_wins():
    assert load_config(["session.seed=1", "session.seed=2"]).session.seed == 2


def test_a_task_brings_its_own_budget_and_the_command_line_overrides_it():
    assert load_config(["task=lift"]).session.train_episodes == 200
    assert load_config(["task=lift", "session.train_episodes=5"]).session.train_episodes == 5


def test_a_task_brings_its_own_method_settings_and_the_command_line_overrides_them(tmp_path):
    mine = tmp_path / "mine.yaml"
    text = (config_folder() / "tasks" / "pick_named.yaml").read_text()
    mine.write_text(text + "method: {critics: 3}\n")
    assert load_config([f"task={mine}"]).method.critics == 3
    assert load_config([f"task={mine}", "method.critics=4"]).method.critics == 4
    assert load_config(["task=pick_named"]).method.critics == 5


def test_a_task_whose_method_is_no_settings_is_named(tmp_path):
    mine = tmp_path / "mine.yaml"
    text = (config_folder() / "tasks" / "pick_named.yaml").read_text()
    mine.write_text(text + "method: dsrl\n")
    said = mistake(f"task={mine}")
    assert "mine.yaml" in said
    assert "dsrl" in said


def test_a_file_of_ones_own_is_named_by_its_path(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: base\nwarmup_episodes: 3\n")
    assert load_config([f"method={mine}"]).method.warmup_episodes == 3


def test_unknown_task_names_the_missing_file_and_the_known_ones():
    text = mistake("task=juggle")
    assert "task=juggle" in text
    assert "tasks/juggle.yaml" in text
    assert "lift" in text


def test_unknown_key_names_key_value_and_origin():
    text = mistake("method.batchsize=64")
    assert "method.batchsize" in text
    assert "64" in text
    assert "command line" in text


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("session.seed=abc", "abc"),
        ("session.seed=-1", "-1"),
        ("method.discount=1.5", "1.5"),
        ("safety.max_speed_mps=.nan", "nan"),
        ("robot.model=ur5", "ur5"),
        ("session.domain_id=102", "102"),
        ("cameras.cameras=[]", "[]"),
    ],
)
def test_wrong_type_or_range_names_key_and_value(override, value):
    text = mistake(override)
    assert override.split("=")[0] in text
    assert value in text


def test_an_override_without_section_or_value_is_refused_with_the_sections():
    for words in ("seed=3", "session.seed", "session.=3", "nosuch.key=1"):
        text = mistake(words)
        assert words in text
        assert "session" in text


def test_an_override_that_is_not_yaml_is_named():
    assert "session.seed=[1" in mistake("session.seed=[1")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("name: tmrl\nbatch_size: many\n", "many"),
        ("name: tmrl\nbatches: 3\n", "method.batches"),
        ("name: [tmrl\n", "not YAML"),
        ("- name\n", "list"),
    ],
)
def test_a_mistake_in_a_file_names_the_file(folder, content, expected):
    file = folder / "methods" / "tmrl.yaml"
    file.write_text(content)
    text = mistake(folder=folder)
    assert str(file) in text
    assert expected in text


def test_a_missing_value_names_file_and_key(folder):
    file = folder / "tasks" / "lift.yaml"
    content = yaml.safe_load(file.read_text())
    del content["prompt"]
    file.write_text(yaml.safe_dump(content))
    text = mistake("task=lift", folder=folder)
    assert str(file) in text
    assert "task.prompt" in text


def test_sections_that_contradict_each_other_are_refused():
    assert "home_position_m" in mistake("task.home_position_m=[2.0, 0.0, 0.2]")
    assert "wanted_object" in mistake("task.wanted_object=teapot")
    assert "workspace" in mistake("safety.workspace_min_m=[0.9, -0.4, 0.0]")


def test_a_resolved_configuration_reads_back_as_it_was_written(tmp_path):
    config = load_config(["task=stack", "session.seed=7"])
    write_config(config, tmp_path / "deep" / "config.yaml")
    assert read_config(tmp_path / "deep" / "config.yaml") == config


@pytest.mark.parametrize("task", ["lift", "pick_named"])
def test_a_shipped_bundle_is_found_from_any_folder(task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config([f"task={task}"])
    assert (config.task.bundle / "policy.json").is_file()
    write_config(config, tmp_path / "config.yaml")
    monkeypatch.chdir("/")
    assert read_config(tmp_path / "config.yaml") == config


def test_a_bundle_on_the_command_line_or_in_ones_own_file_is_meant_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = (config_folder() / "tasks" / "lift.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(content.replace("bundles/lift", "mine/bundle"))
    assert load_config(["task=mine.yaml"]).task.bundle == tmp_path / "mine" / "bundle"
    config = load_config(["task=lift", "task.bundle=../other", "reward.bundle=judge"])
    assert config.task.bundle == tmp_path.parent / "other"
    assert config.reward.bundle == tmp_path / "judge"
    write_config(config, tmp_path / "config.yaml")
    monkeypatch.chdir("/")
    assert read_config(tmp_path / "config.yaml") == config


def test_a_session_names_a_shipped_bundle_wherever_the_package_lies(tmp_path, monkeypatch):
    shutil.copytree(config_folder(), tmp_path / "config")
    config = load_config(["task=lift"])
    here = config_hash(config)
    write_config(config, tmp_path / "config.yaml")
    monkeypatch.setenv("TMRL_CONFIG", str(tmp_path / "config"))
    elsewhere = read_config(tmp_path / "config.yaml")
    assert elsewhere.task.bundle == tmp_path / "bundles" / "lift"
    assert config_hash(elsewhere) == here


def test_a_bundle_that_is_no_path_is_named():
    assert "task.bundle=3" in mistake("task.bundle=3")


def test_a_spoiled_resolved_configuration_names_its_file(tmp_path):
    file = tmp_path / "config.yaml"
    with pytest.raises(ConfigurationError, match=str(file)):
        read_config(file)
    file.write_text("session: [")
    with pytest.raises(ConfigurationError, match=str(file)):
        read_config(file)
    file.write_text("session: {}\n")
    with pytest.raises(ConfigurationError, match=str(file)):
        read_config(file)


def test_the_hash_is_that_of_the_experiment_not_of_its_place():
    here = config_hash(load_config(["session.dir=a", "session.domain_id=1"]))
    assert here == config_hash(load_config(["session.dir=b", "session.domain_id=2"]))
    assert here != config_hash(load_config(["session.seed=1"]))
    assert here != config_hash(load_config(["task=lift"]))


def test_the_hash_is_the_same_in_another_process_and_after_writing(tmp_path):
    config = load_config()
    write_config(config, tmp_path / "config.yaml")
    assert config_hash(read_config(tmp_path / "config.yaml")) == config_hash(config)
    program = (
        "from tmrl_ros.core.load import config_hash, load_config; print(config_hash(load_config()))"
    )
    other = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == config_hash(config)


def test_only_allowed_keys_change_in_a_session_that_has_begun():
    config = load_config()
    changed = change_config(config, ["session.train_episodes=9"], ["session.train_episodes"])
    assert changed.session.train_episodes == 9
    assert changed.session.seed == config.session.seed
    for override in ("session.seed=1", "task=lift", "method.hidden=64"):
        with pytest.raises(ConfigurationError, match=override.split("=")[0]):
            change_config(config, [override], ["session.train_episodes"])
    with pytest.raises(ConfigurationError, match="train_episodes"):
        change_config(config, ["session.train_episodes=-1"], ["session.train_episodes"])


def test_an_earlier_session_is_found_and_makes_warm_up_needless(tmp_path, monkeypatch):
    (tmp_path / "sessions" / "monday" / "episodes").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    config = load_config(["session.replay_from=sessions/monday"])
    assert config.session.replay_from == [tmp_path / "sessions" / "monday"]
    assert config.method.warmup_episodes == 0
    both = load_config(["session.replay_from=[sessions/monday]", "method.warmup_episodes=3"])
    assert both.method.warmup_episodes == 3
    assert load_config([]).method.warmup_episodes > 0


def test_a_folder_that_is_no_session_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = mistake("session.replay_from=[nowhere]")
    assert f"{tmp_path}/nowhere is no session" in said


@pytest.mark.parametrize("forgotten", ["safety", "cameras"])
def test_a_real_arm_never_gets_the_simulated_cell_by_default(forgotten):
    cell = {"safety": "safety=panda_table", "cameras": "cameras=sim_two"}
    wanted = ["robot=franka_fr3", "reward=learned"]
    assert load_config([*wanted, *cell.values()]).robot.driver == "franka"
    cell.pop(forgotten)
    with pytest.raises(ConfigurationError, match=f"robot.kind=franka needs {forgotten}=..."):
        load_config([*wanted, *cell.values()])
