from pathlib import Path

from tmrl_ros.core.graph import KINDS, nodes_for
from tmrl_ros.core.load import load_config

FILE = Path("config.yaml")
REAL = ("robot=franka_fr3", "reward=learned", "safety=panda_table", "cameras=sim_two")


def names(kind="finetune", *overrides):
    return [node.name for node in nodes_for(load_config(overrides), FILE, kind)]


def test_every_node_has_a_console_script_of_its_name(root):
    setup = (root / "setup.py").read_text()
    for kind in KINDS:
        for name in names(kind):
            assert f'"{name}"' in setup


def test_every_node_reads_the_resolved_configuration():
    for node in nodes_for(load_config(), FILE):
        assert node.parameters["config_file"] == str(FILE)
        assert f"config_file:={FILE}" in node.arguments()


def test_only_the_session_ends_the_run_and_is_not_restarted():
    for node in nodes_for(load_config(), FILE):
        assert node.required == (node.name == "session")
        assert node.restart != node.required


def test_what_drives_the_arm_and_what_records_stop_last():
    last = {node.name for node in nodes_for(load_config(), FILE) if node.stop_last}
    assert last == {"sim_franka", "recorder"}


def test_whoever_needs_an_actor_has_a_learner():
    assert "learner" in names("finetune")
    assert "learner" in names("up")
    assert "learner" in names("deploy")  # hands out the weights of the checkpoint
    assert "learner" not in names("collect")
    assert "learner" not in names("finetune", "method=base")


def test_up_has_nobody_who_asks_for_episodes():
    assert "session" not in names("up")
    assert "session" in names("deploy")


def test_a_switched_off_recorder_does_not_run():
    assert "recorder" not in names("finetune", "recorder.enabled=false")


def test_every_kind_has_the_gate_to_the_robot():
    for kind in KINDS:
        assert "safety_supervisor" in names(kind)


def test_namespace_and_log_level_reach_the_process():
    words = nodes_for(load_config(), FILE)[0].arguments(namespace="/left/", log_level="debug")
    assert "__ns:=/left" in words
    assert words[words.index("--log-level") + 1] == "debug"


def test_a_real_arm_has_its_own_driver_in_the_place_of_the_simulated_one():
    real = names("finetune", *REAL)
    simulated = names("finetune")
    assert real == ["franka" if name == "sim_franka" else name for name in simulated]
    (driver,) = [node for node in nodes_for(load_config(REAL), FILE) if node.name == "franka"]
    assert driver.stop_last and driver.restart
