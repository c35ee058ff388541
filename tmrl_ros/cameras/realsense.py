"""A RealSense through librealsense's pipeline: colour, and depth aligned to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.cameras.clock import MILLISECOND, ClockMap
from tmrl_ros.cameras.library import librealsense
from tmrl_ros.cameras.loop import now_ns
from tmrl_ros.cameras.source import (
    CameraAbout,
    CameraFaultError,
    CameraFrame,
    CameraRefusedError,
)
from tmrl_ros.core.camera_config import CameraConfig

MILLIMETRES = 1000.0
FEWEST_COEFFICIENTS = 5
Devices = Callable[[], Sequence[Any]]
"""Lists the devices that are plugged in (`pyrealsense2.device`)."""


def plugged_in() -> Devices:
    """The real devices of this computer."""
    context = librealsense().context()
    return lambda: list(context.query_devices())


class RealSenseSource:
    """One camera, found by its serial number.

    Args:
        config: Which one, and what it is to deliver.
        devices: Lists what is plugged in; tests give librealsense's software devices.
        recording: A `.db3` that librealsense recorded, played again and again instead of a camera.

    Raises:
        OperatorError: librealsense is not installed.
    """

    def __init__(
        self,
        config: CameraConfig,
        devices: Devices | None = None,
        recording: Path | None = None,
    ) -> None:
        self._rs = librealsense()
        self._config, self._recording = config, recording
        self._devices = devices or (list if recording else plugged_in())
        self._align = self._rs.align(self._rs.stream.color)
        self._clock = ClockMap()
        self._pipeline: Any = None
        self._serial = ""
        self._number = -1

    def open(self) -> CameraAbout:
        """Find the camera, set it up and start it."""
        rs, wanted = self._rs, self._config
        if self._recording is not None:
            return self._play(self._recording)
        device = self._find()
        about = self._about(device)
        self._check_profiles(device, about)
        self._set_up(device)
        request = rs.config()
        size = (wanted.width, wanted.height)
        request.enable_stream(rs.stream.depth, *size, rs.format.z16, wanted.rate_hz)
        request.enable_stream(rs.stream.color, *size, rs.format.rgb8, wanted.rate_hz)
        pipeline = rs.pipeline()
        try:
            pipeline.set_device(device)
            pipeline.start(request)
        except RuntimeError as error:
            raise CameraFaultError(
                f"Camera {wanted.name!r} ({about.model} {about.serial}) does not start: {error}; "
                "does another program have it?"
            ) from None
        self._started(pipeline, about)
        return about

    def _play(self, path: Path) -> CameraAbout:
        """Play a recording from its start."""
        request, pipeline = self._rs.config(), self._rs.pipeline()
        try:
            self._rs.config.enable_device_from_file(request, str(path), repeat_playback=True)
            profile = pipeline.start(request)
        except RuntimeError as error:
            raise CameraRefusedError(
                f"{path} is no recording of librealsense ({error}): name a .db3 (an older .bag is "
                "converted by pyrealsense2's context.convert_bag_to_db3) or a bag of ours."
            ) from None
        streams = {stream.stream_type() for stream in profile.get_streams()}
        if not {self._rs.stream.color, self._rs.stream.depth} <= streams:
            pipeline.stop()
            raise CameraRefusedError(f"{path} lacks colour or depth: record both.")
        about = replace(self._about(profile.get_device()), usb="", warnings=())
        self._started(pipeline, about)
        return about

    def _started(self, pipeline: Any, about: CameraAbout) -> None:
        self._pipeline, self._serial = pipeline, about.serial
        self._clock, self._number = ClockMap(), -1

    def read(self, timeout_s: float) -> CameraFrame | None:
        """The next pair of colour and depth; a colour picture that was seen before makes none."""
        if self._pipeline is None:
            raise CameraFaultError(f"Camera {self._config.name!r} is closed.")
        deadline_ns = now_ns() + round(2e9 * timeout_s)
        while now_ns() < deadline_ns:
            try:
                there, frames = self._pipeline.try_wait_for_frames(round(timeout_s * 1e3))
            except RuntimeError as error:
                raise CameraFaultError(f"Camera {self._config.name!r} fails: {error}.") from None
            arrived_ns = now_ns()
            if not there:
                raise CameraFaultError(self._why_silent(timeout_s))
            frame = self._frame(frames, arrived_ns)
            if frame is not None:
                return frame
        raise CameraFaultError(
            f"Camera {self._config.name!r} sends no colour and depth of one instant: set the same "
            "rate for both."
        )

    def close(self) -> None:
        """Stop the pipeline."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is None:
            return
        try:
            pipeline.stop()
        except RuntimeError:
            return  # it was unplugged: there is nothing to stop

    def _find(self) -> Any:
        wanted = self._config
        seen = {self._info(device, "serial_number"): device for device in self._devices()}
        if not wanted.serial and len(seen) == 1:
            return next(iter(seen.values()))
        if wanted.serial in seen:
            return seen[wanted.serial]
        there = ", ".join(f"{self._info(d, 'name')} {serial}" for serial, d in seen.items())
        what = f"with serial {wanted.serial}" if wanted.serial else "(no serial is configured)"
        raise CameraFaultError(
            f"Camera {wanted.name!r} {what} is not there; plugged in: {there or 'none'}. Check its "
            "cable, or correct its serial in the cameras' file."
        )

    def _about(self, device: Any) -> CameraAbout:
        usb, warnings = self._info(device, "usb_type_descriptor"), []
        if usb.startswith(("1", "2")):
            warnings.append(
                f"Camera {self._config.name!r} is on USB {usb}: frames will be lost or slow; use a "
                "USB 3 port and the cable that came with it."
            )
        return CameraAbout(
            model=self._info(device, "name"),
            serial=self._info(device, "serial_number"),
            firmware=self._info(device, "firmware_version"),
            usb=usb,
            warnings=tuple(warnings),
        )

    def _check_profiles(self, device: Any, about: CameraAbout) -> None:
        """Say which profiles there are if the wanted one is not among them."""
        rs, wanted = self._rs, self._config
        profiles = [p for s in device.query_sensors() for p in s.get_stream_profiles()]
        for stream, what in ((rs.stream.color, "colour"), (rs.stream.depth, "depth")):
            videos = [p.as_video_stream_profile() for p in profiles if p.stream_type() == stream]
            offers = {(p.width(), p.height(), p.fps()) for p in videos}
            if (wanted.width, wanted.height, wanted.rate_hz) not in offers:
                listed = ", ".join(f"{w}x{h} at {rate}" for w, h, rate in sorted(offers))
                usb = f" on USB {about.usb}" if about.usb else ""
                raise CameraRefusedError(
                    f"Camera {wanted.name!r} ({about.model} {about.serial}) has no {what} of "
                    f"{wanted.width}x{wanted.height} at {wanted.rate_hz} Hz{usb}; it has "
                    f"{listed or 'none'}. Set width, height and rate_hz in the cameras' file."
                )

    def _set_up(self, device: Any) -> None:
        """Preset and clock, for sensors that have them."""
        option = self._rs.option
        chosen = not self._config.preset
        for sensor in device.query_sensors():
            if sensor.supports(option.global_time_enabled):
                sensor.set_option(option.global_time_enabled, float(self._config.global_time))
            if not chosen and sensor.supports(option.visual_preset):
                self._choose_preset(sensor, option.visual_preset)
                chosen = True
        if not chosen:
            raise CameraRefusedError(
                f"Camera {self._config.name!r} has no presets: remove preset="
                f"{self._config.preset!r} from the cameras' file."
            )

    def _choose_preset(self, sensor: Any, option: Any) -> None:
        span = sensor.get_option_range(option)
        names = {
            str(sensor.get_option_value_description(option, float(value))): value
            for value in range(int(span.min), int(span.max) + 1)
        }
        if self._config.preset not in names:
            raise CameraRefusedError(
                f"Camera {self._config.name!r} has no preset {self._config.preset!r}; it has "
                f"{', '.join(names)}."
            )
        sensor.set_option(option, float(names[self._config.preset]))

    def _why_silent(self, timeout_s: float) -> str:
        wanted = self._config
        if self._serial not in {self._info(d, "serial_number") for d in self._devices()}:
            return f"Camera {wanted.name!r} ({self._serial}) was unplugged: plug it in again."
        return (
            f"Camera {wanted.name!r} ({self._serial}) has sent nothing for {timeout_s:g} s: check "
            "its cable."
        )

    def _frame(self, frames: Any, arrived_ns: int) -> CameraFrame | None:
        color, depth = frames.get_color_frame(), frames.get_depth_frame()
        if not color or not depth or color.get_frame_number() == self._number:
            return None
        if not self._of_one_instant(color, depth):
            return None
        self._number = color.get_frame_number()
        aligned = self._align.process(frames).get_depth_frame()
        lens = color.profile.as_video_stream_profile().intrinsics
        return CameraFrame(
            stamp_ns=self._stamp_ns(color, arrived_ns),
            arrived_ns=arrived_ns,
            numbers=(color.get_frame_number(), depth.get_frame_number()),
            # Copies: the library's buffers are few, and are used again when the frames are let go.
            color=np.array(np.asanyarray(color.get_data()), np.uint8),
            depth_mm=millimetres(np.asanyarray(aligned.get_data()), float(depth.get_units())),
            intrinsics=np.array([[lens.fx, 0, lens.ppx], [0, lens.fy, lens.ppy], [0, 0, 1.0]]),
            distortion=np.array(lens.coeffs, np.float64)[:FEWEST_COEFFICIENTS],
        )

    def _of_one_instant(self, color: Any, depth: Any) -> bool:
        """Whether the two are less than a period apart; librealsense may pair others, at a gap."""
        if color.get_frame_timestamp_domain() != depth.get_frame_timestamp_domain():
            return True
        apart_ms = abs(float(color.get_timestamp()) - float(depth.get_timestamp()))
        return apart_ms < 1e3 / self._config.rate_hz

    def _stamp_ns(self, frame: Any, arrived_ns: int) -> int:
        """When it was taken: librealsense's own host time where it offers one, else ours."""
        domain = frame.get_frame_timestamp_domain()
        if self._recording or domain == self._rs.timestamp_domain.hardware_clock:
            return self._clock.host_ns(frame.get_timestamp(), arrived_ns)
        return min(round(float(frame.get_timestamp()) * MILLISECOND), arrived_ns)

    def _info(self, device: Any, name: str) -> str:
        """One of the device's words about itself; empty if it has none or is going away."""
        try:
            item = getattr(self._rs.camera_info, name)
            return str(device.get_info(item)) if device.supports(item) else ""
        except RuntimeError:
            return ""


def millimetres(depth: NDArray[np.uint16], units_m: float) -> NDArray[np.uint16]:
    """Depth (h, w) in `units_m` per step as millimetres, a copy; without loss where it is 0.001."""
    if abs(units_m * MILLIMETRES - 1.0) < 1e-6:
        return np.array(depth, np.uint16)
    scaled = np.rint(depth * np.float32(units_m * MILLIMETRES))
    return np.asarray(np.minimum(scaled, np.iinfo(np.uint16).max), np.uint16)
