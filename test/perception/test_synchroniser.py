"""Only frames and states of one instant make a bundle, and what is missing is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.core.types import Pose, RobotSample
from tmrl_ros.perception.synchroniser import Bundle, Missing, Synchroniser

MS = 1_000_000
K = np.diag([300.0, 300.0, 1.0])
NAMES = ("exterior", "wrist")


def state(stamp_ms, x=0.0):
    zeros = np.zeros(7)
    pose = Pose(np.array([x, 0.0, 0.2]), np.array([1.0, 0.0, 0.0, 0.0]))
    return RobotSample(
        stamp_ms * MS, stamp_ms, zeros, zeros, zeros, pose, np.zeros(6), np.zeros(6), 0.08
    )


def color(stamp_ms):
    return np.full((2, 2, 3), stamp_ms % 251, np.uint8)


def depth(stamp_ms):
    return np.full((2, 2), stamp_ms, np.uint16)


def frame(sync, name, stamp_ms):
    sync.add_color(name, stamp_ms * MS, color(stamp_ms))
    sync.add_depth(name, stamp_ms * MS, depth(stamp_ms))


@pytest.fixture
def sync():
    sync = Synchroniser(dict.fromkeys(NAMES, 0.2))
    for name in NAMES:
        sync.add_intrinsics(name, K)
    return sync


def test_frames_and_state_of_the_asked_instant_make_a_bundle(sync):
    for name in NAMES:
        frame(sync, name, 100)
    sync.add_state(state(100))
    bundle = sync.bundle_at(100 * MS)
    assert isinstance(bundle, Bundle)
    assert list(bundle.frames) == list(NAMES)
    assert {f.stamp_ns for f in bundle.frames.values()} == {bundle.robot.stamp_ns} == {100 * MS}


@given(st.permutations(range(10)))
def test_the_order_of_arrival_does_not_matter(order):
    sync = Synchroniser(dict.fromkeys(NAMES, 0.2))
    needed = [lambda: sync.add_state(state(100))]
    for name in NAMES:
        needed += [
            lambda n=name: sync.add_intrinsics(n, K),
            lambda n=name: sync.add_color(n, 100 * MS, color(100)),
            lambda n=name: sync.add_depth(n, 100 * MS, depth(100)),
        ]
    stragglers = [lambda n=name: frame(sync, n, 50) for name in NAMES]
    stragglers.append(lambda: sync.add_color("wrist", 150 * MS, color(150)))
    arrivals = needed + stragglers
    for count, k in enumerate(order, start=1):
        arrivals[k]()
        complete = set(range(len(needed))) <= set(order[:count])
        assert isinstance(sync.bundle_at(100 * MS), Bundle if complete else Missing)
    bundle = sync.bundle_at(100 * MS)
    assert all((f.depth_mm == 100).all() for f in bundle.frames.values())


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        ((), "no colour image"),
        (("color",), "no depth image"),
        (("depth",), "no colour image"),
        (("old",), "no colour image after 0.050 s"),
        (("old", "color"), "no depth image after 0.050 s"),
        (("color", "other depth"), "no depth image of a colour image's stamp"),
    ],
)
def test_what_a_camera_lacks_is_named(sync, keep, words):
    frame(sync, "exterior", 100)
    sync.add_state(state(100))
    if "old" in keep:
        frame(sync, "wrist", 50)
    if "color" in keep:
        sync.add_color("wrist", 100 * MS, color(100))
    if "depth" in keep:
        sync.add_depth("wrist", 100 * MS, depth(100))
    if "other depth" in keep:
        sync.add_depth("wrist", 101 * MS, depth(101))
    assert sync.bundle_at(100 * MS) == Missing({"wrist": words})


def test_without_intrinsics_there_is_no_frame(sync):
    for name in NAMES:
        frame(sync, name, 100)
    sync.add_state(state(100))
    sync.add_intrinsics("wrist", np.zeros((3, 3)))  # what an uncalibrated driver says
    assert "focal length" in sync.bundle_at(100 * MS).cameras["wrist"]


def test_a_missing_robot_state_is_named(sync):
    for name in NAMES:
        frame(sync, name, 100)
    sync.add_state(state(50))
    missing = sync.bundle_at(100 * MS)
    assert not missing.cameras
    assert "0.100 s" in missing.robot


def test_free_running_cameras_get_the_first_frames_and_the_first_state_after_them(sync):
    for stamp in (70, 137, 204):
        frame(sync, "exterior", stamp)
    for stamp in (90, 157):
        frame(sync, "wrist", stamp)
    for stamp in (100, 150, 200, 250):
        sync.add_state(state(stamp, x=stamp / 1000.0))
    bundle = sync.bundle_at(100 * MS)
    assert [f.stamp_ns // MS for f in bundle.frames.values()] == [137, 157]
    assert bundle.robot.stamp_ns == 200 * MS
    assert bundle.frames["wrist"].ee_pose.position[0] == pytest.approx(0.157)


def test_a_camera_far_behind_the_other_is_too_old(sync):
    frame(sync, "exterior", 100)
    frame(sync, "wrist", 500)
    sync.add_state(state(500))
    assert "0.40 s older" in sync.bundle_at(100 * MS).cameras["exterior"]
    frame(sync, "exterior", 480)
    bundle = sync.bundle_at(100 * MS)
    assert [f.stamp_ns // MS for f in bundle.frames.values()] == [480, 500]


def test_dropped_frames_are_not_used(sync):
    for name in NAMES:
        frame(sync, name, 100)
    sync.add_state(state(100))
    sync.drop_frames()
    assert set(sync.bundle_at(100 * MS).cameras) == set(NAMES)


def test_a_driver_that_starts_again_leaves_nothing_of_before(sync):
    for name in NAMES:
        frame(sync, name, 900)
    sync.add_state(state(900))
    sync.add_state(state(50))
    assert sync.newest_state_ns == 50 * MS
    assert isinstance(sync.bundle_at(50 * MS), Missing)
    for name in NAMES:
        frame(sync, name, 50)
    assert sync.bundle_at(50 * MS).robot.stamp_ns == 50 * MS


def test_repeated_states_count_once(sync):
    for _ in range(500):
        sync.add_state(state(100))
    sync.add_state(state(150))
    for name in NAMES:
        frame(sync, name, 100)
    assert sync.bundle_at(100 * MS).robot.stamp_ns == 100 * MS
