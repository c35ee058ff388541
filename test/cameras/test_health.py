"""What is said about a camera from what came of it."""

import numpy as np
import pytest

from tmrl_ros.cameras.health import Health, Level
from tmrl_ros.cameras.source import CameraAbout, CameraFrame

SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND
BLACK = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint16), np.eye(3)


def frame(number, *, rate_hz=30.0, age_s=0.02, depth_number=None):
    arrived_ns = START_NS + round(number * SECOND / rate_hz)
    stamp_ns = arrived_ns - round(age_s * SECOND)
    numbers = (number, number if depth_number is None else depth_number)
    return CameraFrame(stamp_ns, arrived_ns, numbers, *BLACK)


def watched(frames, **about):
    health = Health(rate_hz=30.0, max_age_s=0.2, timeout_s=3.0)
    health.opened(CameraAbout("D435", "1001", **about))
    for item in frames:
        health.saw(item)
    return health, health.report(frames[-1].arrived_ns)


def test_a_healthy_camera_tells_rate_and_age():
    _, report = watched([frame(n) for n in range(1, 200)], usb="3.2")
    assert report.level is Level.OK and report.message == "30 frames per second"
    assert report.values["age_ms"] == report.values["worst_age_ms"] == "20.0"
    assert (report.values["dropped"], report.values["usb"]) == ("0", "3.2")


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ([frame(n) for n in range(1, 200) if n != 150], "1 frames were lost"),
        ([frame(n, depth_number=n + (n > 150)) for n in range(1, 200)], "1 frames were lost"),
        ([frame(n, rate_hz=15.0) for n in range(1, 200)], "15 frames per second, 30 wanted"),
        ([frame(n, age_s=0.4) for n in range(1, 200)], "0.40 s old"),
    ],
)
def test_what_is_not_right_is_a_warning(frames, text):
    _, report = watched(frames)
    assert report.level is Level.WARN and text in report.message


def test_frames_lost_long_ago_are_counted_but_no_longer_warned_of():
    health, report = watched([frame(n) for n in range(1, 400) if n != 150])
    assert report.level is Level.OK and report.values["dropped"] == "1"
    assert health.dropped == 1


def test_numbers_that_begin_again_after_a_reconnection_are_no_loss():
    health, _ = watched([frame(n) for n in range(50, 60)])
    health.opened(CameraAbout("D435", "1001"))
    health.saw(frame(61, depth_number=1))
    assert (health.dropped, health.reconnections) == (0, 1)


def test_silence_and_faults_are_errors():
    health, _ = watched([frame(1), frame(2)])
    later = health.report(START_NS + 4 * SECOND)
    assert later.level is Level.ERROR and "no frame for 3.9 s" in later.message
    health.failed("It was unplugged.")
    assert health.report(START_NS).message == "It was unplugged."


def test_a_camera_that_was_never_there_says_so():
    report = Health(rate_hz=30.0, max_age_s=0.2, timeout_s=3.0).report(START_NS)
    assert report.level is Level.ERROR and report.message == "not opened yet"


def test_a_usb_warning_is_repeated():
    slow = "It is on USB 2.1."
    _, report = watched([frame(n) for n in range(1, 200)], warnings=(slow,))
    assert (report.level, report.message) == (Level.WARN, slow)
