"""RealSense cameras without hardware: librealsense's software devices, fed with pictures.

Everything behind the feeding (sensors, pipeline, matching, alignment, time stamps) is the real
library's. A device that is unplugged is no longer listed and sends nothing.
"""

from __future__ import annotations

import numpy as np

from tmrl_ros.cameras.library import librealsense

rs = librealsense()
DEPTH_BASELINE_M = 0.015
"""The depth sensor sits beside the colour sensor."""


class SoftwareCamera:
    """One software device with a depth and a colour sensor of the same lens and size."""

    def __init__(
        self,
        serial="1001",
        *,
        size=(424, 240),
        rate_hz=30,
        focal_px=300.0,
        centre_px=None,
        usb="3.2",
        units_m=0.001,
        baseline_m=DEPTH_BASELINE_M,
    ):
        self.serial, self.size, self.rate_hz = serial, size, rate_hz
        self.focal_px, self.centre_px = focal_px, centre_px or [(n - 1) / 2 for n in size]
        self.units_m = units_m
        self.plugged = True
        self.number = 0
        self.device = rs.software_device()
        about = {"name": "Software D435", "serial_number": serial, "usb_type_descriptor": usb}
        about["firmware_version"] = "5.16.0.1"
        for key, value in about.items():
            self.device.register_info(getattr(rs.camera_info, key), value)
        self._depth = self.device.add_sensor("Stereo Module")
        self._depth.add_read_only_option(rs.option.depth_units, units_m)
        self._color = self.device.add_sensor("RGB Camera")
        self._depth_profile = self._depth.add_video_stream(self._stream("depth", "z16", 0, 2))
        self._color_profile = self._color.add_video_stream(self._stream("color", "rgb8", 1, 3))
        beside = rs.extrinsics()
        beside.rotation, beside.translation = [1, 0, 0, 0, 1, 0, 0, 0, 1], [baseline_m, 0, 0]
        self._depth_profile.register_extrinsics_to(self._color_profile, beside)
        self.device.create_matcher(rs.matchers.default)

    def _stream(self, kind, fmt, uid, bytes_per_pixel):
        stream, lens = rs.video_stream(), rs.intrinsics()
        lens.width, lens.height = self.size
        lens.ppx, lens.ppy = self.centre_px
        lens.fx = lens.fy = self.focal_px
        lens.model, lens.coeffs = rs.distortion.brown_conrady, [0.0] * 5
        stream.type, stream.fmt = getattr(rs.stream, kind), getattr(rs.format, fmt)
        stream.index, stream.uid, stream.fps = 0, uid, self.rate_hz
        stream.width, stream.height = self.size
        stream.bpp, stream.intrinsics = bytes_per_pixel, lens
        return stream

    @property
    def intrinsics(self):
        (cx, cy), f = self.centre_px, self.focal_px
        return np.array([[f, 0, cx], [0, f, cy], [0, 0, 1.0]])

    def feed(self, color, depth, camera_ms, *, domain="hardware_clock", lose=0):
        """Hand one pair to the library as if it had come over USB; `lose` frames are left out."""
        self.number += 1 + lose
        if not self.plugged:
            return
        for sensor, profile, pixels, bytes_per_pixel in (
            (self._depth, self._depth_profile, np.asarray(depth, np.uint16), 2),
            (self._color, self._color_profile, np.asarray(color, np.uint8), 3),
        ):
            frame = rs.software_video_frame()
            frame.pixels = np.ascontiguousarray(pixels)
            frame.bpp, frame.stride = bytes_per_pixel, self.size[0] * bytes_per_pixel
            frame.timestamp, frame.frame_number = camera_ms, self.number
            frame.domain = getattr(rs.timestamp_domain, domain)
            frame.depth_units = self.units_m
            frame.profile = profile.as_video_stream_profile()
            sensor.on_video_frame(frame)


class Bus:
    """What is plugged in, as `RealSenseSource` asks for it."""

    def __init__(self, *cameras):
        self.cameras = list(cameras)

    def __call__(self):
        return [camera.device for camera in self.cameras if camera.plugged]
