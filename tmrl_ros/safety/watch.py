"""Watch the robot: is it there, does its clock run forwards, is anything wrong, who commands it."""

from __future__ import annotations

from tmrl_ros.core.types import RobotSample
from tmrl_ros.safety.causes import Cause, Code, cause
from tmrl_ros.safety.limits import Limits
from tmrl_ros.safety.reflexes import Reflexes
from tmrl_ros.safety.state_rules import Measured, measure, robot_causes


class RobotWatch:
    """Keeps the newest robot state and what it means; times are monotonic wall seconds."""

    def __init__(self, limits: Limits) -> None:
        """Start with a robot that was never heard of, which counts as silent."""
        self._limits = limits
        self._heard_at_s: float | None = None
        self._tick = 0
        self._stamp_ns = 0
        self._causes: list[Cause] = []
        self._second_publisher: Cause | None = None
        self._reflexes = Reflexes(limits.max_reflexes_per_min)
        self.measured: Measured | None = None
        """The newest sound measurement; a faulty state does not replace it."""

    def on_state(self, sample: RobotSample, wall_s: float) -> tuple[list[Cause], bool]:
        """Take in a robot state.

        Returns:
            What is wrong with it, and whether its tick has advanced. A state that goes back in time
            is wrong once and is then the new present, so that a restarted driver can be reset to.
        """
        first = self._heard_at_s is None
        backwards = not first and (sample.tick < self._tick or sample.stamp_ns < self._stamp_ns)
        jump = [_backwards(sample, self._tick, self._stamp_ns)] if backwards else []
        advanced = first or sample.tick > self._tick
        self._heard_at_s, self._tick, self._stamp_ns = wall_s, sample.tick, sample.stamp_ns
        self._reflexes.on_mode(sample.mode, wall_s)
        often = self._reflexes.cause(wall_s)
        measured = measure(sample, self._limits)
        if isinstance(measured, Cause):
            self._causes = [measured]
        else:
            self.measured = measured
            self._causes = robot_causes(sample, measured, self._limits)
        return jump + ([often] if often is not None else []) + self._causes, advanced

    def silence(self, wall_s: float) -> Cause | None:
        """The cause "silent robot", when it is."""
        if self._heard_at_s is None:
            return cause(Code.ROBOT_SILENT, "The robot has not been heard of since the start.")
        silent_s = wall_s - self._heard_at_s
        if silent_s <= self._limits.state_timeout_s:
            return None
        return cause(
            Code.ROBOT_SILENT,
            f"The robot has been silent for {silent_s:.1f} s.",
            f"{silent_s:.1f} s",
        )

    def present(self, wall_s: float) -> list[Cause]:
        """What is wrong with the robot at this moment."""
        silence = self.silence(wall_s)
        found = [silence] if silence is not None else list(self._causes)
        often = self._reflexes.cause(wall_s)
        if often is not None:
            found.append(often)
        return found if self._second_publisher is None else [*found, self._second_publisher]

    def on_target_publishers(self, count: int) -> Cause | None:
        """The cause "second publisher", when the robot's target topic has more than one."""
        self._second_publisher = None
        if count > 1:
            what = f"{count} programs publish targets for the robot; only one may."
            self._second_publisher = cause(Code.SECOND_PUBLISHER, what, str(count))
        return self._second_publisher


def _backwards(sample: RobotSample, tick: int, stamp_ns: int) -> Cause:
    return cause(
        Code.CLOCK_BACKWARDS,
        f"The robot's clock went back: tick {tick} to {sample.tick}, "
        f"stamp {stamp_ns / 1e9:.3f} s to {sample.stamp_ns / 1e9:.3f} s.",
        f"tick {sample.tick}",
    )
