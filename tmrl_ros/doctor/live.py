"""The running graph: who is there, who may move the arm, what the cameras show.

`Seen` is gathered by `nodes/doctor.py`; what it means is said here, without ROS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.config import Config
from tmrl_ros.core.types import RobotMode, RobotSample
from tmrl_ros.doctor import cameras
from tmrl_ros.doctor.cameras import CameraReport
from tmrl_ros.doctor.finding import Finding, bad, good, warning

GATE = "safety_supervisor"
DARK = 8.0
"""Mean of an 8-bit picture below which a cap is on the lens or the light is off."""
FLAT = 2.0
"""Standard deviation below which a picture shows nothing."""


@dataclass(frozen=True)
class Picture:
    """What is kept of a camera's picture.

    `stamp_ns` is the robot's clock; `mean` and `spread` are of all values, 0 to 255. `small` is
    what is compared with the camera's reference picture.
    """

    stamp_ns: int
    width: int
    height: int
    mean: float
    spread: float
    small: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)


@dataclass
class Seen:
    """What was seen of a graph.

    Attributes:
        expected: Nodes that should be there.
        nodes: Nodes that are.
        movers: Nodes that publish on robot/target.
        states: Messages on robot/state in `seconds`.
        robot: The newest of them.
        frame: Its frame.
        pictures: By camera, in order of arrival.
        reports: The newest diagnostics of each camera.
        safety: State, code and sentence of the software stop, and causes that are present.
        recorder: Its last word.
        mismatches: Connections whose quality of service does not fit, in words.
    """

    expected: Sequence[str]
    nodes: Sequence[str] = ()
    movers: Sequence[str] = ()
    states: int = 0
    seconds: float = 0.0
    robot: RobotSample | None = None
    frame: str = ""
    pictures: dict[str, list[Picture]] = field(default_factory=dict)
    reports: dict[str, CameraReport] = field(default_factory=dict)
    safety: tuple[str, str, str, Sequence[str]] | None = None
    recorder: Mapping[str, object] | None = None
    mismatches: Sequence[str] = ()


def picture_of(pixels: NDArray[np.uint8], stamp_ns: int) -> Picture:
    """Keep a few numbers of a picture (H, W, 3)."""
    height, width = pixels.shape[:2]
    mean, spread = float(pixels.mean()), float(pixels.std())
    return Picture(stamp_ns, width, height, mean, spread, cameras.small(pixels))


def live(seen: Seen, config: Config) -> list[Finding]:
    """All checks of a running graph."""
    findings = [nodes(seen), movers(seen), *robot(seen, config), stop(seen)]
    findings += [camera(item.name, seen.pictures, config) for item in config.cameras.cameras]
    findings += cameras.reports(seen.reports, config)
    shown = {name: taken[-1].small for name, taken in seen.pictures.items() if taken}
    findings += cameras.swapped({k: v for k, v in shown.items() if v is not None}, config)
    if config.recorder.enabled:
        findings.append(recorder(seen))
    return [*findings, qualities(seen)]


def nodes(seen: Seen) -> Finding:
    """Whether every process of the graph is there."""
    missing = [name for name in seen.expected if name not in seen.nodes]
    if missing:
        return bad("nodes", f"missing: {', '.join(missing)}", "look at logs/<node>.log")
    return good("nodes", f"all {len(seen.expected)} are there")


def movers(seen: Seen) -> Finding:
    """Whether the software stop is the only one that can move the arm."""
    strangers = [name for name in seen.movers if name != GATE]
    if strangers:
        return bad("robot/target", f"published by {', '.join(strangers)} too", "stop that program")
    if GATE not in seen.movers:
        return bad("robot/target", "nobody publishes", f"{GATE} is not there or not ready")
    return good("robot/target", f"{GATE} alone publishes")


def robot(seen: Seen, config: Config) -> list[Finding]:
    """Whether the arm speaks, is healthy, in the right frame and inside the workspace."""
    sample = seen.robot
    if sample is None:
        return [bad("robot", "says nothing on robot/state", "check driver, power and cable")]
    findings = [good("robot", f"{seen.states / max(seen.seconds, 1e-6):.0f} states per second")]
    if seen.frame != config.robot.base_frame:
        findings.append(
            bad(
                "robot frame",
                f"{seen.frame!r}, robot.base_frame is {config.robot.base_frame!r}",
                "make them agree",
            )
        )
    healthy = sample.mode in (RobotMode.IDLE, RobotMode.MOVE) and not sample.faults
    if not healthy:
        faults = ", ".join(sample.faults) or "no fault named"
        findings.append(
            bad("robot mode", f"{sample.mode.name}, {faults}", "clear it at the robot's interface")
        )
    low, high = np.array(config.safety.workspace_min_m), np.array(config.safety.workspace_max_m)
    tool = sample.ee_pose.position
    text = f"tool at {tool[0]:.2f} {tool[1]:.2f} {tool[2]:.2f} m"
    if np.all(tool >= low) and np.all(tool <= high):
        findings.append(good("workspace", text))
    else:
        findings.append(bad("workspace", f"{text}, outside {low} .. {high}", "guide it back"))
    return findings


def stop(seen: Seen) -> Finding:
    """What the software stop says."""
    check = "software stop"
    if seen.safety is None:
        return bad(check, "says nothing", f"{GATE} is not there")
    state, code, message, causes = seen.safety
    if causes:
        return bad(check, f"a reset is refused: {', '.join(causes)}", "docs/safety.md, Causes")
    if state == "LATCHED" and code not in ("START", "OPERATOR_STOP", "SHUTDOWN"):
        return warning(check, f"latched, {code}: {message}", "docs/safety.md, Causes")
    return good(check, f"{state.lower()}{f', {code}' if code else ''}; a reset would be taken")


def camera(name: str, pictures: Mapping[str, Sequence[Picture]], config: Config) -> Finding:
    """Whether a camera shows something, in the right size, and goes on."""
    check = f"camera {name}"
    seen = pictures.get(name, ())
    if not seen:
        return bad(check, "no picture", "check cable, driver and the camera's name")
    last = seen[-1]
    wanted = next(item for item in config.cameras.cameras if item.name == name)
    text = f"{last.width}x{last.height}, brightness {last.mean:.0f} of 255"
    if (last.width, last.height) != (wanted.width, wanted.height):
        size = f"{wanted.width}x{wanted.height}"
        return bad(check, f"{text}, {size} expected", "set the driver or the configuration")
    if last.mean < DARK or last.spread < FLAT:
        return bad(check, f"{text}: black or blank", "take the cap off, switch on the light")
    time_passes = config.robot.kind != "sim" or config.robot.realtime
    if time_passes and len(seen) > 1 and last.stamp_ns <= seen[0].stamp_ns:
        return bad(check, f"{text}: the same picture again", "plug the camera in anew")
    return good(check, text)


def recorder(seen: Seen) -> Finding:
    """Whether what happens would be kept."""
    if seen.recorder is None:
        return bad("recorder", "says nothing", "look at logs/recorder.log")
    if not seen.recorder.get("ok"):
        why = str(seen.recorder.get("message", "not ready"))
        return bad("recorder", why, "no episode starts before that is mended")
    return good("recorder", "ready")


def qualities(seen: Seen) -> Finding:
    """Whether publishers offer what subscribers ask for."""
    if seen.mismatches:
        return bad("quality of service", "; ".join(seen.mismatches), "nothing arrives on these")
    return good("quality of service", "every connection fits")
