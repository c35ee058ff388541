"""What is seen of a graph, and what is made of it."""

from dataclasses import replace

import numpy as np
import pytest

from tmrl_ros.core.config import Config
from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import Pose, RobotMode, RobotSample
from tmrl_ros.doctor.finding import Finding, Level
from tmrl_ros.doctor.live import Picture, Seen, live, picture_of

CONFIG = load_config()
REALTIME = load_config(["robot.realtime=true"])
PICTURE = Picture(1, 424, 240, 120.0, 40.0)
ROBOT = RobotSample(
    stamp_ns=1,
    tick=1,
    q=np.zeros(7),
    dq=np.zeros(7),
    tau=np.zeros(7),
    ee_pose=Pose(np.array([0.45, 0.0, 0.20]), np.array([1.0, 0.0, 0.0, 0.0])),
    ee_twist=np.zeros(6),
    wrench=np.zeros(6),
    gripper_width_m=0.08,
    mode=RobotMode.IDLE,
)


def healthy() -> Seen:
    return Seen(
        expected=("safety_supervisor", "perception"),
        nodes=("safety_supervisor", "perception", "rviz"),
        movers=("safety_supervisor",),
        states=40,
        seconds=4.0,
        robot=ROBOT,
        frame="panda_link0",
        pictures={"exterior": [PICTURE], "wrist": [PICTURE]},
        safety=("LATCHED", "START", "The supervisor has just started.", ()),
        recorder={"ok": True},
    )


def wrong(seen: Seen, config: Config = CONFIG) -> list[Finding]:
    unknown = Level.GOOD, Level.SKIPPED  # no reference pictures
    return [item for item in live(seen, config) if item.level not in unknown]


def test_a_healthy_graph_has_nothing_wrong() -> None:
    assert wrong(healthy()) == []
    assert "10 states per second" in {item.text for item in live(healthy(), CONFIG)}


FAULTS = [
    ({"nodes": ("perception",)}, "nodes", "missing: safety_supervisor"),
    ({"movers": ("safety_supervisor", "teleop")}, "robot/target", "published by teleop too"),
    ({"movers": ()}, "robot/target", "nobody publishes"),
    ({"robot": None}, "robot", "says nothing"),
    ({"frame": "world"}, "robot frame", "'world', robot.base_frame is 'panda_link0'"),
    ({"robot": replace(ROBOT, mode=RobotMode.REFLEX)}, "robot mode", "REFLEX"),
    ({"robot": replace(ROBOT, faults=("joint_reflex",))}, "robot mode", "joint_reflex"),
    ({"safety": None}, "software stop", "says nothing"),
    ({"safety": ("LATCHED", "START", "", ("FORCE",))}, "software stop", "refused: FORCE"),
    ({"pictures": {"exterior": [PICTURE]}}, "camera wrist", "no picture"),
    ({"recorder": {"ok": False, "message": "disk is full"}}, "recorder", "disk is full"),
    ({"recorder": None}, "recorder", "says nothing"),
    ({"mismatches": ("/points, a to b (RELIABILITY)",)}, "quality of service", "/points"),
]


@pytest.mark.parametrize(("change", "check", "text"), FAULTS)
def test_every_fault_is_named_with_a_remedy(change: dict, check: str, text: str) -> None:
    (found,) = wrong(replace(healthy(), **change))
    assert (found.check, found.level) == (check, Level.BAD)
    assert text in found.text
    assert found.remedy


def test_a_tool_outside_the_workspace_is_bad() -> None:
    outside = Pose(np.array([0.45, 0.0, 1.20]), ROBOT.ee_pose.quaternion)
    (found,) = wrong(replace(healthy(), robot=replace(ROBOT, ee_pose=outside)))
    assert found.check == "workspace" and "outside" in found.text


def test_a_latch_that_somebody_must_look_at_is_a_warning() -> None:
    (found,) = wrong(replace(healthy(), safety=("LATCHED", "FORCE", "The arm felt 90 N.", ())))
    assert found.level is Level.WARNING and "90 N" in found.text


@pytest.mark.parametrize(
    ("picture", "text"),
    [
        (replace(PICTURE, width=640, height=480), "424x240 expected"),
        (replace(PICTURE, mean=2.0, spread=1.0), "black or blank"),
    ],
)
def test_a_camera_that_shows_the_wrong_thing(picture: Picture, text: str) -> None:
    pictures = {"exterior": [picture], "wrist": [PICTURE]}
    (found,) = wrong(replace(healthy(), pictures=pictures))
    assert found.check == "camera exterior" and text in found.text


def test_a_picture_must_be_newer_where_time_passes() -> None:
    pictures = {"exterior": [PICTURE, replace(PICTURE, stamp_ns=2)], "wrist": [PICTURE, PICTURE]}
    seen = replace(healthy(), pictures=pictures)
    (found,) = wrong(seen, REALTIME)
    assert found.check == "camera wrist" and "the same picture" in found.text
    assert wrong(seen) == [], "in lockstep time stands still while nothing moves"


def test_a_picture_is_kept_as_a_few_numbers() -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:2] = 200
    assert picture_of(pixels, 7) == Picture(7, 6, 4, 100.0, 100.0)
