"""The simulated arm, the shipped URDF and an independent forward kinematics agree."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import xacro
from scipy.spatial.transform import Rotation

from tmrl_ros.sim import SimulatedCell
from tmrl_ros.sim.kinematics import ARM_JOINTS, Q_NOMINAL, ArmKinematics

URDF = Path(__file__).parents[2] / "urdf"


def floats(text):
    return np.array([float(word) for word in text.split()])


def urdf_pose(path, link, angles):
    """Pose of a link in the robot's root, straight from the XML, sharing no code with MuJoCo."""
    joints = {joint.find("child").get("link"): joint for joint in ET.parse(path).iter("joint")}
    pose = np.eye(4)
    while link in joints:
        joint = joints[link]
        step = np.eye(4)
        origin = joint.find("origin")
        if origin is not None:
            step[:3, 3] = floats(origin.get("xyz", "0 0 0"))
            step[:3, :3] = Rotation.from_euler(
                "xyz", floats(origin.get("rpy", "0 0 0"))
            ).as_matrix()
        if joint.get("type") == "revolute":
            turn = np.eye(4)
            axis = floats(joint.find("axis").get("xyz"))
            turn[:3, :3] = Rotation.from_rotvec(axis * angles[joint.get("name")]).as_matrix()
            step = step @ turn
        pose = step @ pose
        link = joint.find("parent").get("link")
    return pose


@pytest.fixture(scope="module")
def arm():
    return ArmKinematics()


def test_forward_kinematics_agree_with_the_urdf_everywhere(arm):
    rng = np.random.default_rng(0)
    for _ in range(200):
        q = rng.uniform(arm.lower, arm.upper)
        expected = urdf_pose(
            URDF / "panda.urdf", "panda_hand_tcp", dict(zip(ARM_JOINTS, q, strict=True))
        )
        pose = arm.forward(q)
        assert np.linalg.norm(pose.position_m - expected[:3, 3]) < 1e-6
        turn = Rotation.from_matrix(expected[:3, :3]).inv() * Rotation.from_quat(
            pose.quaternion_xyzw
        )
        assert turn.magnitude() < 1e-6


def test_joint_limits_and_masses_agree_with_the_urdf(arm):
    root = ET.parse(URDF / "panda.urdf").getroot()
    joints = {joint.get("name"): joint.find("limit") for joint in root.iter("joint")}
    assert arm.lower == pytest.approx([float(joints[name].get("lower")) for name in ARM_JOINTS])
    assert arm.upper == pytest.approx([float(joints[name].get("upper")) for name in ARM_JOINTS])
    mjcf = ET.parse(URDF.parent / "tmrl_ros" / "sim" / "assets" / "panda" / "panda.xml")
    for link in root.iter("link"):
        if link.find("inertial") is None:
            continue
        body = next(item for item in mjcf.iter("body") if item.get("name") == link.get("name"))
        inertial, urdf = body.find("inertial"), link.find("inertial")
        assert float(inertial.get("mass")) == float(urdf.find("mass").get("value"))
        tensor = [float(urdf.find("inertia").get(key)) for key in ("ixx", "iyy", "izz")]
        kept = inertial.get("fullinertia") or inertial.get("diaginertia")
        assert floats(kept)[:3] == pytest.approx(tensor)


def test_inverse_kinematics_reach_the_workspace_inside_the_limits(arm):
    rng = np.random.default_rng(1)
    down = np.array([1.0, 0.0, 0.0, 0.0])
    for _ in range(30):
        target = rng.uniform([0.30, -0.35, 0.01], [0.70, 0.35, 0.40])
        q = arm.inverse(target, down, start=Q_NOMINAL, iterations=200, tolerance=1e-6)
        pose = arm.forward(q)
        assert np.linalg.norm(pose.position_m - target) < 1e-4
        assert abs(pose.quaternion_xyzw @ down) > 1.0 - 1e-6
        assert (q > arm.lower).all() and (q < arm.upper).all()


def test_an_orientation_that_is_no_rotation_is_refused(arm):
    with pytest.raises(ValueError, match="not a quaternion"):
        arm.inverse(np.zeros(3), np.zeros(4), start=Q_NOMINAL)


@pytest.mark.parametrize("camera", ["exterior", "wrist"])
def test_the_urdf_puts_the_cameras_where_the_simulation_has_them(camera):
    cell = SimulatedCell("lift")
    angles = dict(zip(ARM_JOINTS, cell.state().q, strict=True))
    expected = urdf_pose(URDF / "workcell.urdf", f"{camera}_optical_frame", angles)
    assert cell.camera(camera).T_base_optical == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["panda", "workcell"])
def test_the_shipped_urdf_is_what_its_xacro_expands_to(name):
    expanded = xacro.process_file(str(URDF / f"{name}.urdf.xacro")).toxml()
    assert ET.canonicalize(expanded, strip_text=True) == ET.canonicalize(
        from_file=str(URDF / f"{name}.urdf"), strip_text=True
    )


@pytest.mark.parametrize("name", ["panda", "workcell"])
def test_every_mesh_of_the_urdf_exists(name):
    for mesh in ET.parse(URDF / f"{name}.urdf").iter("mesh"):
        relative = mesh.get("filename").removeprefix("package://tmrl_ros/")
        assert (URDF.parent / relative).is_file()
