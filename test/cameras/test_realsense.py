"""The real librealsense, fed by software devices with pictures of the simulated cell."""

import threading
import time

import numpy as np
import pytest
from software_realsense import Bus, SoftwareCamera, rs

from tmrl_ros.cameras.health import Health, Level
from tmrl_ros.cameras.loop import CameraLoop
from tmrl_ros.cameras.realsense import RealSenseSource, millimetres
from tmrl_ros.cameras.source import CameraFaultError, CameraRefusedError
from tmrl_ros.core.camera_config import CameraConfig
from tmrl_ros.sim import SimulatedCell

PATIENCE_S = 30.0


def configured(**values):
    about = {"name": "exterior", "serial": "1001", "mount": "base", "position_m": [0, 0, 1]}
    return CameraConfig(**{**about, "quaternion_xyzw": [1, 0, 0, 0], **values})


class Feeder:
    """Feeds a camera from a thread, as USB does."""

    def __init__(self, camera, color, depth, *, domain="hardware_clock", start_ms=5000.0):
        self.camera, self.color, self.depth, self.domain = camera, color, depth, domain
        self.start_ms, self.began_s = start_ms, time.monotonic()
        self.lose = 0
        self.sent_ns = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join(PATIENCE_S)

    def _run(self):
        while not self._stopped.wait(0.02):
            lose, self.lose = self.lose, 0
            self.sent_ns[self.camera.number + 1 + lose] = time.time_ns()
            camera_ms = self.start_ms + (time.monotonic() - self.began_s) * 1e3
            if self.domain == "system_time":
                camera_ms = time.time() * 1e3
            self.camera.feed(self.color, self.depth, camera_ms, domain=self.domain, lose=lose)


@pytest.fixture(scope="module")
def scene():
    """Colour, depth (mm) and K of the exterior camera."""
    with SimulatedCell("pick_named", depth_noise=False) as cell:
        frame, model = cell.render("exterior"), cell.camera("exterior")
        return frame.color, frame.depth_mm, model.K


def camera_of(scene, **settings):
    color, _, k = scene
    size = (color.shape[1], color.shape[0])
    return SoftwareCamera(size=size, focal_px=k[0, 0], centre_px=[k[0, 2], k[1, 2]], **settings)


def test_pictures_arrive_unchanged_and_depth_is_aligned_to_colour(scene):
    color, depth, k = scene
    camera = camera_of(scene, baseline_m=0.0)
    source = RealSenseSource(configured(), Bus(camera))
    about = source.open()
    with Feeder(camera, color, depth):
        frame = source.read(PATIENCE_S)
    source.close()
    assert (about.serial, about.usb, about.firmware) == ("1001", "3.2", "5.16.0.1")
    assert np.array_equal(frame.color, color)
    assert frame.intrinsics == pytest.approx(k, rel=1e-6)
    # The alignment rounds half pixels to the next one; away from edges depth is what it was.
    near = np.lib.stride_tricks.sliding_window_view(depth.astype(int), (3, 3))
    flat = np.pad(np.ptp(near, axis=(2, 3)) < 20, 1)
    assert flat.mean() > 0.5
    assert np.mean(np.abs(frame.depth_mm.astype(int) - depth)[flat] <= 10) > 0.95


def test_depth_of_a_sensor_beside_the_colour_sensor_moves_by_its_disparity(scene):
    color, depth, k = scene
    wall = np.zeros_like(depth)
    wall[100:140, 200:240] = 500
    camera = camera_of(scene)
    source = RealSenseSource(configured(), Bus(camera))
    source.open()
    with Feeder(camera, color, wall):
        frame = source.read(PATIENCE_S)
    source.close()
    columns = np.flatnonzero(frame.depth_mm[120] == 500)
    shift_px = k[0, 0] * 0.015 / 0.5
    assert columns[0] == pytest.approx(200 + shift_px, abs=1.5)
    assert columns[-1] == pytest.approx(239 + shift_px, abs=1.5)


def test_stamps_of_a_camera_clock_are_the_host_time_of_the_picture(scene):
    color, depth, _ = scene
    camera = camera_of(scene)
    source = RealSenseSource(configured(), Bus(camera))
    source.open()
    with Feeder(camera, color, depth, start_ms=123.0) as feeder:
        frames = [source.read(PATIENCE_S) for _ in range(30)]
    source.close()
    stamps = [frame.stamp_ns for frame in frames]
    assert stamps == sorted(set(stamps))
    for frame in frames:
        taken_ns = feeder.sent_ns[frame.numbers[0]]
        assert taken_ns - 1_000_000 <= frame.stamp_ns <= frame.arrived_ns


def test_a_stamp_that_is_the_hosts_already_is_kept(scene):
    color, depth, _ = scene
    camera = camera_of(scene)
    source = RealSenseSource(configured(), Bus(camera))
    source.open()
    with Feeder(camera, color, depth, domain="system_time") as feeder:
        frame = source.read(PATIENCE_S)
    source.close()
    assert abs(frame.stamp_ns - feeder.sent_ns[frame.numbers[0]]) < 50_000_000


def test_lost_frames_are_counted_from_their_numbers(scene):
    color, depth, _ = scene
    camera = camera_of(scene)
    source = RealSenseSource(configured(), Bus(camera))
    health = Health(30.0, 1.0, 3.0)
    health.opened(source.open())
    with Feeder(camera, color, depth) as feeder:
        health.saw(source.read(PATIENCE_S))
        before = health.dropped
        feeder.lose = 7
        while health.dropped - before < 7:
            frame = source.read(PATIENCE_S)
            health.saw(frame)
            assert frame.numbers[0] < 1000, "the gap was never seen"
    source.close()
    report = health.report(frame.arrived_ns)
    assert report.level is Level.WARN and "lost" in report.message
    assert int(report.values["dropped"]) >= 7


def test_an_unplugged_camera_comes_back_when_it_is_plugged_in(scene):
    color, depth, _ = scene
    camera = camera_of(scene)
    said, frames = [], []
    health = Health(30.0, 1.0, 3.0)
    loop = CameraLoop(
        RealSenseSource(configured(), Bus(camera)),
        health,
        frames.append,
        lambda came, text: said.append((came, text)),
        first_wait_s=0.05,
        stall_s=0.5,
    )
    thread = threading.Thread(target=loop.run, daemon=True)

    def until(condition):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, said
            time.sleep(0.02)

    with Feeder(camera, color, depth):
        thread.start()
        until(lambda: len(frames) > 3)
        camera.plugged = False
        until(lambda: any("was unplugged" in text for _, text in said))
        until(lambda: any("is not there; plugged in: none" in text for _, text in said))
        count = len(frames)
        assert health.report(time.time_ns()).level is Level.ERROR
        camera.plugged = True
        until(lambda: len(frames) > count + 3)
        loop.stop()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert health.reconnections == 1 and health.fault == ""
    assert [came for came, _ in said].count(True) == 2
    stamps = [frame.stamp_ns for frame in frames]
    assert stamps == sorted(set(stamps))


def test_each_fault_is_said_once_while_it_lasts():
    said = []
    loop = CameraLoop(
        RealSenseSource(configured(), Bus()),
        Health(30.0, 1.0, 3.0),
        lambda frame: None,
        lambda came, text: said.append(text),
        first_wait_s=0.01,
    )
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + PATIENCE_S
    while loop._wait_s < 0.08 and time.monotonic() < deadline:
        time.sleep(0.01)
    loop.stop()
    thread.join(PATIENCE_S)
    assert len(said) == 1 and "serial 1001 is not there" in said[0]


def test_the_camera_of_the_wanted_serial_is_taken():
    bus = Bus(SoftwareCamera("2002"), SoftwareCamera("1001"))
    source = RealSenseSource(configured(), bus)
    assert source.open().serial == "1001"
    source.close()
    with pytest.raises(CameraFaultError, match="3003 is not there.*Software D435 2002"):
        RealSenseSource(configured(serial="3003"), bus).open()
    with pytest.raises(CameraFaultError, match="no serial is configured.*2002"):
        RealSenseSource(configured(serial=""), bus).open()


def test_the_only_camera_needs_no_serial():
    source = RealSenseSource(configured(serial=""), Bus(SoftwareCamera("2002")))
    assert source.open().serial == "2002"
    source.close()


def test_a_camera_on_usb_2_is_warned_about():
    source = RealSenseSource(configured(), Bus(SoftwareCamera(usb="2.1")))
    (warning,) = source.open().warnings
    source.close()
    assert "USB 2.1" in warning and "USB 3 port" in warning


def test_a_profile_that_the_camera_lacks_is_refused_with_those_it_has():
    source = RealSenseSource(configured(rate_hz=60), Bus(SoftwareCamera()))
    with pytest.raises(CameraRefusedError, match="no colour of 424x240 at 60 Hz.*424x240 at 30"):
        source.open()


def test_a_preset_that_the_camera_lacks_is_refused():
    source = RealSenseSource(configured(preset="High Accuracy"), Bus(SoftwareCamera()))
    with pytest.raises(CameraRefusedError, match="no presets: remove preset='High Accuracy'"):
        source.open()


def test_a_recording_of_librealsense_is_played_again_and_again(tmp_path):
    camera, path = SoftwareCamera(size=(64, 48)), tmp_path / "exterior.db3"
    request = rs.config()
    for stream, fmt in ((rs.stream.depth, rs.format.z16), (rs.stream.color, rs.format.rgb8)):
        request.enable_stream(stream, 64, 48, fmt, 30)
    request.enable_record_to_file(str(path))
    pipeline = rs.pipeline()
    pipeline.set_device(camera.device)
    pipeline.start(request)
    for index in range(12):
        color = np.full((48, 64, 3), 10 * index, np.uint8)
        camera.feed(color, np.full((48, 64), 500 + index), 1e6 + 33.4 * index)
        assert pipeline.try_wait_for_frames(5000)[0]
    pipeline.stop()
    source = RealSenseSource(configured(width=64, height=48), recording=path)
    assert source.open().serial == "1001"
    frames = [source.read(PATIENCE_S) for _ in range(20)]
    source.close()
    stamps = [frame.stamp_ns for frame in frames]
    assert stamps == sorted(set(stamps)) and stamps[0] > 10**18
    assert frames[-1].numbers[0] < len(frames), "it began again"
    for frame in frames:
        assert np.median(frame.depth_mm) - 500 == pytest.approx(frame.color[0, 0, 0] / 10)


def test_a_file_that_is_no_recording_is_refused(tmp_path):
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0")
    with pytest.raises(CameraRefusedError, match="is no recording of librealsense"):
        RealSenseSource(configured(), recording=tmp_path / "old.bag").open()


def test_depth_in_other_units_becomes_millimetres():
    depth = np.array([[0, 10, 65535]], np.uint16)
    assert millimetres(depth, 0.0001).tolist() == [[0, 1, 6554]]
    assert millimetres(depth, 0.001).tolist() == depth.tolist()
    assert millimetres(depth, 0.01).tolist() == [[0, 100, 65535]]


def test_a_camera_of_finer_depth_units_delivers_millimetres(scene):
    color, depth, _ = scene
    camera = camera_of(scene, units_m=0.0001, baseline_m=0.0)
    source = RealSenseSource(configured(), Bus(camera))
    source.open()
    with Feeder(camera, color, np.full_like(depth, 5000)):
        frame = source.read(PATIENCE_S)
    source.close()
    assert np.median(frame.depth_mm) == 500
