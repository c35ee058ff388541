"""The controller's parameters and the robot's description, against what the session allows."""

import math
import re

import pytest
import yaml

from tmrl_ros.core.load import load_config
from tmrl_ros.robots.franka.controller import controller_fault, force_ceiling_n
from tmrl_ros.robots.franka.model import POSITION_LIMITS_RAD, joint_names, model_fault

CONFIG = load_config(
    ["robot=franka_fr3", "reward=learned", "safety=panda_table", "cameras=sim_two", "task=lift"]
)
NODE = "/cartesian_controller"


def parameters(clip_m=0.05, stiffness=500.0, **changes):
    values = {
        "joints": list(joint_names("fr3")),
        "base_frame": "base",
        "end_effector_frame": "fr3_hand_tcp",
        "limit_error": True,
        "limit_torques": True,
        "stop_commands": False,
        "use_operational_space": False,
    }
    for axis in "xyz":
        values[f"task.k_pos_{axis}"] = stiffness
        values[f"task.error_clip.{axis}"] = clip_m
    return {**values, **{key.replace("__", "."): value for key, value in changes.items()}}


def description(limits, model="fr3", mount=""):
    joints = "".join(
        f'<joint name="{name}" type="revolute"><limit lower="{low}" upper="{high}"/></joint>'
        for name, (low, high) in zip(joint_names(model), limits, strict=True)
    )
    return f"<robot>{mount}{joints}</robot>"


def test_force_is_stiffness_times_clip_over_all_axes():
    assert force_ceiling_n(parameters()) == pytest.approx(math.sqrt(3) * 25.0)


def test_a_controller_within_the_limits_is_accepted():
    assert controller_fault(parameters(), CONFIG, NODE) == ""


def test_crisps_defaults_press_too_hard_and_the_sentence_says_what_to_set():
    said = controller_fault(parameters(clip_m=0.1), CONFIG, NODE)
    assert "up to 87 N" in said and "safety.max_force_n is 60" in said
    assert "ros2 param set /cartesian_controller task.error_clip.x 0.069" in said
    assert controller_fault(parameters(clip_m=0.069), CONFIG, NODE) == ""


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"limit_error": False}, "limit_error: true"),
        ({"limit_torques": False}, "limit_torques: true"),
        ({"stop_commands": True}, "stop_commands: false"),
        ({"use_operational_space": True}, "use_operational_space: false"),
        ({"variable_stiffness__enabled": True}, "variable_stiffness.enabled: false"),
        ({"base_frame": "table"}, "takes targets in frame 'table'"),
        ({"end_effector_frame": "fr3_link8"}, "robot.ee_frame='fr3_hand_tcp'"),
        ({"joints": list(joint_names("panda"))}, "robot.model=fr3"),
        ({"task__error_clip__x": math.inf}, "no force is bounded"),
        ({"task__k_pos_z": math.nan}, "no force is bounded"),
    ],
)
def test_what_is_refused(changes, word):
    assert word in controller_fault(parameters(**changes), CONFIG, NODE)


def test_another_controller_is_refused():
    lacking = parameters()
    del lacking["task.error_clip.y"]
    assert "no Cartesian controller of crisp" in controller_fault(lacking, CONFIG, NODE)


@pytest.mark.parametrize("model", ["fr3", "panda"])
def test_an_arm_agrees_with_its_own_description(model):
    assert model_fault(description(POSITION_LIMITS_RAD[model], model), model) == ""


def test_limits_of_a_newer_system_agree():
    wider = [(low - 0.1, high + 0.1) for low, high in POSITION_LIMITS_RAD["fr3"]]
    assert model_fault(description(wider), "fr3") == ""


@pytest.mark.parametrize(
    ("urdf", "word"),
    [
        (description(POSITION_LIMITS_RAD["panda"], "fr3"), "another arm"),
        (description(POSITION_LIMITS_RAD["panda"], "panda"), "no joint fr3_joint1"),
        (description([(math.nan, math.nan)] * 7), "another arm"),
        (description([("low", "high")] * 7), "no number"),
        ("", "no XML"),
    ],
)
def test_another_arm_is_refused(urdf, word):
    assert word in model_fault(urdf, "fr3")


def mounted(parent, child, origin, kind="fixed"):
    links = f'<parent link="{parent}"/><child link="{child}"/>'
    return f'<joint name="{parent}_{child}" type="{kind}">{links}{origin}</joint>'


AT_ROOT = '<origin xyz="0 0 0" rpy="0 0 0"/>'


@pytest.mark.parametrize("origin", ["", AT_ROOT, '<origin xyz="0 0 0.0"/>'])
def test_an_arm_at_the_root_of_its_description_is_accepted(origin):
    mount = mounted("world", "base", AT_ROOT) + mounted("base", "fr3_link0", origin)
    assert model_fault(description(POSITION_LIMITS_RAD["fr3"], mount=mount), "fr3") == ""


@pytest.mark.parametrize(
    "mount",
    [
        mounted("base", "fr3_link0", '<origin xyz="0 0 0.8"/>'),
        mounted("base", "fr3_link0", '<origin rpy="0 0 1.57" xyz="0 0 0"/>'),
        mounted("world", "base", '<origin xyz="0.3 0 0"/>') + mounted("base", "fr3_link0", AT_ROOT),
        mounted("rail", "fr3_link0", AT_ROOT, "prismatic"),
    ],
)
def test_an_arm_that_is_mounted_elsewhere_is_refused(mount):
    said = model_fault(description(POSITION_LIMITS_RAD["fr3"], mount=mount), "fr3")
    assert "the controller takes targets in the root's frame" in said


def flat(values, prefix=""):
    found = {}
    for key, value in values.items():
        nested = (
            flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
        found |= nested
    return found


def test_the_controller_on_the_page_about_hardware_is_accepted(root):
    page = (root / "docs" / "hardware.md").read_text()
    (written,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    controllers = yaml.safe_load(written)["/**"]
    of_page = flat(controllers[CONFIG.robot.franka.controller]["ros__parameters"])
    assert controller_fault({"stop_commands": False, **of_page}, CONFIG, NODE) == ""
    assert f"{force_ceiling_n(of_page):.0f} N" in page
