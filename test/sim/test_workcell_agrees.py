"""URDF, simulated scene, supervisor and configuration describe one cell."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import xacro
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tmrl_ros.cli.workcell import workcell_urdf
from tmrl_ros.core.arm_models import MODELS, PANDA
from tmrl_ros.core.load import load_config, write_config
from tmrl_ros.core.types import Pose
from tmrl_ros.perception.geometry import pose_matrix
from tmrl_ros.robots.franka.model import model_fault
from tmrl_ros.safety.kinematics import Tool, posture
from tmrl_ros.sim.engine import mujoco
from tmrl_ros.sim.kinematics import ARM_JOINTS
from tmrl_ros.sim.scene import TABLE_X_M, TABLE_Y_M, build_model

URDF = Path(__file__).parents[2] / "urdf"


def expanded(**mappings):
    return ET.fromstring(
        xacro.process_file(str(URDF / "workcell.urdf.xacro"), mappings=mappings).toxml()
    )


def numbers(text):
    return np.array([float(word) for word in text.split()])


def link_pose(robot, link, angles):
    """Pose of a link in the root, from the XML alone."""
    joints = {joint.find("child").get("link"): joint for joint in robot.iter("joint")}
    pose = np.eye(4)
    while link in joints:
        joint, step = joints[link], np.eye(4)
        origin = joint.find("origin")
        if origin is not None:
            step[:3, 3] = numbers(origin.get("xyz", "0 0 0"))
            step[:3, :3] = Rotation.from_euler(
                "xyz", numbers(origin.get("rpy", "0 0 0"))
            ).as_matrix()
        if joint.get("type") == "revolute":
            axis = numbers(joint.find("axis").get("xyz"))
            turned = Rotation.from_rotvec(axis * angles[joint.get("name")]).as_matrix()
            step[:3, :3] = step[:3, :3] @ turned
        pose, link = step @ pose, joint.find("parent").get("link")
    return pose


@pytest.fixture(scope="module", params=sorted(MODELS))
def arm(request):
    """Name of the arm, and its cell."""
    return request.param, expanded(arm_id=request.param)


def test_joint_limits_of_the_urdf_are_those_of_supervisor_and_driver(arm):
    name, robot = arm
    limits = {joint.get("name"): joint.find("limit") for joint in robot.iter("joint")}
    found = [limits[f"{name}_joint{number}"] for number in range(1, 8)]
    model = MODELS[name]
    for key, values in (("lower", model.low), ("upper", model.high), ("velocity", model.speed)):
        assert tuple(float(limit.get(key)) for limit in found) == values
    assert model_fault(ET.tostring(robot, encoding="unicode"), name) == ""


def test_the_supervisors_kinematics_are_those_of_the_urdf(arm):
    name, robot = arm
    model, rng = MODELS[name], np.random.default_rng(0)
    config = load_config().robot
    tool = Tool(tuple(config.tool_offset_m), tuple(config.tool_quaternion_xyzw))
    for _ in range(50):
        q = rng.uniform(model.low, model.high)
        angles = {f"{name}_joint{k + 1}": q[k] for k in range(7)}
        true = link_pose(robot, f"{name}_hand_tcp", angles)
        found = posture(tuple(q), tool)
        assert np.allclose(found.position, true[:3, 3], atol=1e-6)
        turn = Rotation.from_quat(found.quaternion).inv() * Rotation.from_matrix(true[:3, :3])
        assert turn.magnitude() < 1e-6


def test_every_joint_of_the_simulation_is_where_the_urdf_has_it():
    robot, model = expanded(), build_model(None)
    data, rng = mujoco.MjData(model), np.random.default_rng(1)
    for _ in range(20):
        q = rng.uniform(PANDA.low, PANDA.high)
        for name, angle in zip(ARM_JOINTS, q, strict=True):
            data.joint(name).qpos = angle
        mujoco.mj_kinematics(model, data)
        angles = dict(zip(ARM_JOINTS, q, strict=True))
        for link in [*(f"panda_link{k}" for k in range(8)), "panda_hand"]:
            body, true = data.body(link), link_pose(robot, link, angles)
            assert np.allclose(body.xpos, true[:3, 3], atol=1e-6), link
            assert np.allclose(body.xmat.reshape(3, 3), true[:3, :3], atol=1e-6), link


def test_the_simulations_joint_limits_are_the_supervisors():
    model = build_model(None)
    for index, name in enumerate(ARM_JOINTS):
        assert np.allclose(model.joint(name).range, [PANDA.low[index], PANDA.high[index]])


def test_the_table_of_the_urdf_is_the_simulations():
    robot = expanded()
    table = next(link for link in robot.iter("link") if link.get("name") == "table")
    size = numbers(table.find("visual/geometry/box").get("size"))
    centre = link_pose(robot, "table", {})[:3, 3] + numbers(table.find("visual/origin").get("xyz"))
    assert np.allclose(centre[:2] - size[:2] / 2, [TABLE_X_M[0], TABLE_Y_M[0]])
    assert np.allclose(centre[:2] + size[:2] / 2, [TABLE_X_M[1], TABLE_Y_M[1]])
    assert centre[2] + size[2] / 2 == pytest.approx(0.0)


def cell_with(tmp_path, cameras=(), keep_out=()):
    """URDF of a session with these camera poses (mount, pose) and boxes."""
    config = load_config()
    template = config.cameras.cameras[0]
    listed = [
        template.model_copy(
            update={
                "name": f"camera{index}",
                "mount": mount,
                "position_m": [float(v) for v in pose.position],
                "quaternion_xyzw": [float(v) for v in pose.quaternion],
            }
        )
        for index, (mount, pose) in enumerate(cameras)
    ]
    config = config.model_copy(
        update={
            "cameras": config.cameras.model_copy(update={"cameras": listed}),
            "safety": config.safety.model_copy(update={"keep_out": list(keep_out)}),
        }
    )
    file = tmp_path / "config.yaml"
    write_config(config, file)
    return ET.fromstring(workcell_urdf(config, file))


def hanging(angles_deg, position=(0.4, -0.2, 0.8)):
    return Pose(np.array(position), Rotation.from_euler("xyz", angles_deg, degrees=True).as_quat())


DOWN, UP = (180.0, 0.0, 30.0), (0.0, 0.0, -50.0)


@settings(deadline=None, max_examples=25)
@given(st.tuples(*[st.floats(-180.0, 180.0)] * 3))
def test_cameras_hang_in_the_urdf_where_the_configuration_says(tmp_path_factory, angles):
    folder = tmp_path_factory.mktemp("cell")
    places = [hanging(a) for a in (angles, DOWN, UP, (90.0, 0.0, 0.0))]
    mounts = ["base", "ee", "base", "ee"]
    robot = cell_with(folder, cameras=list(zip(mounts, places, strict=True)))
    still = {f"panda_joint{k}": 0.1 * k for k in range(1, 8)}
    tool = link_pose(robot, "panda_hand_tcp", still)
    for index, (mount, place) in enumerate(zip(mounts, places, strict=True)):
        true = pose_matrix(place) if mount == "base" else tool @ pose_matrix(place)
        assert np.allclose(link_pose(robot, f"camera{index}_optical_frame", still), true, atol=2e-6)


def test_keep_out_boxes_of_the_urdf_are_the_supervisors(tmp_path):
    config = load_config(
        [
            "safety.keep_out=[{name: shelf, min_m: [0.6, 0.2, 0.0], max_m: [0.9, 0.5, 0.3]}, "
            "{name: lamp, min_m: [0.3, -0.3, 0.4], max_m: [0.35, -0.25, 0.6]}]"
        ]
    )
    robot = cell_with(tmp_path, keep_out=config.safety.keep_out)
    for box in config.safety.keep_out:
        (link,) = [x for x in robot.iter("link") if x.get("name") == f"keep_out_{box.name}"]
        centre = link_pose(robot, f"keep_out_{box.name}", {})[:3, 3]
        for part in ("visual", "collision"):
            size = numbers(link.find(f"{part}/geometry/box").get("size"))
            assert np.allclose(centre - size / 2, box.min_m)
            assert np.allclose(centre + size / 2, box.max_m)


def test_without_the_arm_only_what_hangs_beside_it_is_described():
    robot = expanded(with_arm="false")
    links = {link.get("name") for link in robot.iter("link")}
    assert "exterior_optical_frame" in links and "table" in links
    assert not any("wrist" in name or "joint" in name or "hand" in name for name in links)
