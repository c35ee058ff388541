"""How a camera is doing: rate, age, lost frames, reconnections; in words for the diagnostics."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum

from tmrl_ros.cameras.source import CameraAbout, CameraFrame

WINDOW_S = 5.0
SLOW = 0.8
"""Share of the wanted rate below which a camera is too slow."""
SECOND = 1_000_000_000


class Level(IntEnum):
    """With the values of `diagnostic_msgs/DiagnosticStatus`."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Report:
    """One line of diagnostics and the figures behind it."""

    level: Level
    message: str
    values: dict[str, str]


@dataclass
class Health:
    """Counts what comes; all times are the host's clock, ns.

    Attributes:
        rate_hz: Frames per second that are wanted.
        max_age_s: A frame older than this on arrival is too late for an observation.
        timeout_s: Silence after which something is wrong.
    """

    rate_hz: float
    max_age_s: float
    timeout_s: float
    about: CameraAbout | None = None
    fault: str = "not opened yet"
    frames: int = 0
    dropped: int = 0
    late: int = 0
    reconnections: int = 0
    _numbers: tuple[int, int] | None = None
    _recent: deque[tuple[int, float, int]] = field(default_factory=deque)
    """Of the last seconds: when it came, age in s, frames lost before it."""

    def opened(self, about: CameraAbout) -> None:
        """The camera takes pictures, for the first time or again."""
        if self.about is not None:
            self.reconnections += 1
        self.about, self.fault, self._numbers = about, "", None

    def failed(self, why: str) -> None:
        """The camera is gone or silent."""
        self.fault = why

    def saw(self, frame: CameraFrame) -> None:
        """Count a frame, and those between it and the one before."""
        lost = 0
        if self._numbers is not None:
            gaps = [now - last - 1 for now, last in zip(frame.numbers, self._numbers, strict=True)]
            lost = max(0, *gaps)
        self._numbers = frame.numbers
        age_s = (frame.arrived_ns - frame.stamp_ns) / SECOND
        self.frames += 1
        self.dropped += lost
        self.late += age_s > self.max_age_s
        self._recent.append((frame.arrived_ns, age_s, lost))

    def report(self, now_ns: int) -> Report:
        """What there is to say now."""
        while self._recent and self._recent[0][0] < now_ns - WINDOW_S * SECOND:
            self._recent.popleft()
        ages = sorted(age_s for _, age_s, _ in self._recent)
        rate_hz = self._rate_hz()
        values = {
            "serial": self.about.serial if self.about else "",
            "model": self.about.model if self.about else "",
            "firmware": self.about.firmware if self.about else "",
            "usb": self.about.usb if self.about else "",
            "rate_hz": f"{rate_hz:.1f}",
            "wanted_rate_hz": f"{self.rate_hz:g}",
            "age_ms": f"{ages[len(ages) // 2] * 1e3:.1f}" if ages else "",
            "worst_age_ms": f"{ages[-1] * 1e3:.1f}" if ages else "",
            "frames": str(self.frames),
            "dropped": str(self.dropped),
            "late": str(self.late),
            "reconnections": str(self.reconnections),
        }
        level, message = self._verdict(now_ns, rate_hz, ages)
        return Report(level, message, values)

    def _rate_hz(self) -> float:
        if len(self._recent) < 2:
            return 0.0
        span_s = (self._recent[-1][0] - self._recent[0][0]) / SECOND
        return (len(self._recent) - 1) / span_s if span_s > 0 else 0.0

    def _verdict(self, now_ns: int, rate_hz: float, ages: list[float]) -> tuple[Level, str]:
        if self.fault:
            return Level.ERROR, self.fault
        silent_s = (now_ns - self._recent[-1][0]) / SECOND if self._recent else self.timeout_s
        if silent_s >= self.timeout_s:
            return Level.ERROR, f"no frame for {silent_s:.1f} s"
        if ages and ages[len(ages) // 2] > self.max_age_s:
            return Level.WARN, f"frames are {ages[len(ages) // 2]:.2f} s old when they come"
        if lost := sum(lost for _, _, lost in self._recent):
            return Level.WARN, f"{lost} frames were lost in the last {WINDOW_S:g} s"
        if len(self._recent) > self.rate_hz and rate_hz < SLOW * self.rate_hz:
            return Level.WARN, f"{rate_hz:.0f} frames per second, {self.rate_hz:g} wanted"
        if self.about and self.about.warnings:
            return Level.WARN, " ".join(self.about.warnings)
        return Level.OK, f"{rate_hz:.0f} frames per second"
