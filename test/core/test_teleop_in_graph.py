"""A joystick is part of the graph where one is configured, and of no experiment."""

from pathlib import Path

from tmrl_ros.core.graph import KINDS, nodes_for
from tmrl_ros.core.load import config_hash, load_config


def test_the_teleop_node_runs_where_a_device_is_configured_and_the_run_goes_on_without_it():
    for kind in KINDS:
        nodes = {node.name: node for node in nodes_for(load_config(), Path("c"), kind)}
        assert "teleop" not in nodes
        config = load_config(["teleop=gamepad"])
        nodes = {node.name: node for node in nodes_for(config, Path("c"), kind)}
        assert nodes["teleop"].optional


def test_who_steers_makes_no_other_experiment():
    assert config_hash(load_config(["teleop=gamepad"])) == config_hash(load_config())
    assert config_hash(load_config(["safety.max_step_m=0.1"])) != config_hash(load_config())
