"""The one gate to the robot: every chunk passes here, and every target comes from here.

The gate is driven by its inputs alone and keeps no clock and no thread. Each `on_*` method takes
the monotonic wall time in seconds and returns the effects in the order in which they must happen.
"""

from __future__ import annotations

import numpy as np

from tmrl_ros.core.config import RobotConfig, SafetyConfig
from tmrl_ros.core.types import (
    Chunk,
    ChunkResult,
    ChunkSource,
    Outcome,
    Pose,
    RobotSample,
    Target,
    TeleopCommand,
)
from tmrl_ros.safety.causes import Cause, Code, Refusal, cause
from tmrl_ros.safety.chunk_rules import Plan, age_cause, plan_chunk, start_cause, void_plan
from tmrl_ros.safety.execution import Execution, ToolPose, seed, unsent_outcome
from tmrl_ros.safety.geometry import Quat
from tmrl_ros.safety.hold_to_run import MESSAGE, HoldToRun
from tmrl_ros.safety.latch import Latch
from tmrl_ros.safety.limits import Limits
from tmrl_ros.safety.pace import Pace
from tmrl_ros.safety.state_rules import Measured
from tmrl_ros.safety.status import Counters, Effect, GateState, GateStatus, StateChanged
from tmrl_ros.safety.takeover import REPLACED, Takeover
from tmrl_ros.safety.watch import RobotWatch

YIELD_S = 1.0
"""How long a stopped arm that presses too hard is told again and again to stay where it now is.

One hold keeps pressing where the arm stood when it was sent, and in a simulation in which time
passes only with targets the force, and with it the refusal of every reset, would last for ever.
"""


class Gate:
    """State machine LATCHED -> READY <-> RUNNING -> LATCHED; it starts latched."""

    def __init__(self, safety: SafetyConfig, robot: RobotConfig, wall_s: float = 0.0) -> None:
        """Start latched at wall time `wall_s`."""
        self._limits = Limits.of(safety, robot)
        self._watch = RobotWatch(self._limits)
        self._latch = Latch(cause(Code.START, "The supervisor has just started."), wall_s)
        self._takeover = Takeover(safety, self._limits)
        self._hold_to_run = HoldToRun(safety)
        self._counters = Counters()
        self._run: Execution | None = None
        self._answer_due_s = 0.0
        self._last: ToolPose | None = None
        limits = self._limits
        self._pace = Pace(limits.max_step_change_m, limits.min_reversal_ns, limits.period_ns)
        self._last_asked: Quat | None = None
        self._width_m: float | None = None
        self._yields_left = 0
        self._last_decision: tuple[str, int, int] | None = None
        self._shown_causes: tuple[str, ...] = ()

    def on_state(self, sample: RobotSample, wall_s: float) -> list[Effect]:
        """Take in a robot state; an advanced tick answers the last target and asks for the next."""
        causes, advanced = self._watch.on_state(sample, wall_s)
        if self._latch.cause is not None:
            return self._yield_to(causes) if advanced else []
        if causes:
            return self._stop(causes[0], wall_s)
        paused = self._follow_hold_to_run(wall_s)
        run, measured = self._run, self._watch.measured
        if run is None or measured is None:
            return paused
        if not run.started:
            due = sample.stamp_ns >= run.chunk.stamp_ns and not self._hold_to_run.paused
            return self._start(run, wall_s) if due else paused
        if not advanced:
            return paused
        run.arrived(measured)
        if run.all_sent:
            self._run = None
            self._counters.chunks_executed += 1
            return [*paused, run.outcome(ChunkResult.EXECUTED, "", measured), StateChanged()]
        if self._hold_to_run.paused or self._last is None:
            return paused
        return self._send(run, self._last, measured, wall_s)

    def on_chunk(self, chunk: Chunk, wall_s: float) -> list[Effect]:
        """Judge a chunk and, if it may be executed, send its first target."""
        if chunk.execute_steps == 0:
            self._in_order(chunk)
            return [unsent_outcome(chunk, ChunkResult.SKIPPED, "", self._stamp_ns)]
        if self._latch.cause is not None:
            return [self._reject(chunk, Refusal.LATCHED)]
        plan = self._judge(chunk, wall_s)
        if isinstance(plan, Cause):
            return [*self._stop(plan, wall_s), self._reject(chunk, plan.code)]
        if not self._in_order(chunk):
            return [self._reject(chunk, Refusal.OUT_OF_ORDER)]
        if self._run is not None:
            return [self._reject(chunk, Refusal.BUSY)]
        wrong = age_cause(chunk, self._stamp_ns, self._limits)
        if wrong is not None:
            return [*self._stop(wrong, wall_s), self._reject(chunk, wrong.code)]
        self._answer_due_s = wall_s + self._limits.progress_timeout_s
        paused = self._follow_hold_to_run(wall_s)
        run = self._run = plan
        if chunk.stamp_ns > self._stamp_ns or self._hold_to_run.paused:
            # The state it was made from is still on its way to us, or nobody holds the button.
            return [*paused, StateChanged()]
        return [*self._start(run, wall_s), StateChanged()]

    def on_teleop(self, command: TeleopCommand, wall_s: float) -> list[Effect]:
        """A person steers; what they ask for goes into the rows of the chunk that runs."""
        if self._latch.cause is not None:
            return []
        wrong = self._takeover.on_command(command, wall_s)
        return self._stop(wrong, wall_s) if wrong is not None else []

    def on_hold_to_run(self, held: bool, wall_s: float) -> list[Effect]:
        """A person holds the hold-to-run button, or has released it."""
        self._hold_to_run.on_signal(held, wall_s)
        return self._follow_hold_to_run(wall_s)

    def on_malformed_chunk(self, chunk: Chunk, what: str, wall_s: float) -> list[Effect]:
        """Latch on a chunk message that cannot be read; `chunk` holds what could be."""
        wrong = cause(Code.MALFORMED_CHUNK, f"A chunk cannot be read: {what}.", what)
        return [*self._stop(wrong, wall_s), self._reject(chunk, wrong.code)]

    def on_malformed_state(self, what: str, wall_s: float) -> list[Effect]:
        """Latch on a robot state message that cannot be read."""
        wrong = cause(Code.MALFORMED_STATE, f"A robot state cannot be read: {what}.", what)
        return self._stop(wrong, wall_s)

    def on_internal_error(self, what: str, wall_s: float) -> list[Effect]:
        """Latch on a mistake in the supervisor itself."""
        wrong = cause(Code.INTERNAL_ERROR, f"The supervisor made a mistake: {what}.", what)
        return self._stop(wrong, wall_s)

    def on_stop(self, wall_s: float, who: str = "An operator") -> list[Effect]:
        """Latch because a person says so; pressed again, it commands the hold again."""
        wrong = cause(Code.OPERATOR_STOP, f"{who} pressed stop.", who)
        if self._latch.cause is None:
            return self._stop(wrong, wall_s)
        self._latch.set(wrong, wall_s)
        heard = self._watch.silence(wall_s) is None
        return [*(self._hold() if heard else []), StateChanged()]

    def on_overdue(self, wrong: Cause, wall_s: float) -> list[Effect]:
        """Latch because another part of the graph has been silent for too long."""
        return self._stop(wrong, wall_s)

    def on_shutdown(self, wall_s: float) -> list[Effect]:
        """Leave the arm holding where it is."""
        return self._stop(cause(Code.SHUTDOWN, "The supervisor was shut down."), wall_s)

    def on_reset(self, wall_s: float) -> tuple[bool, str]:
        """A person's reset: refused while a cause is present; nothing moves because of it.

        Returns:
            Whether the gate is open now, and a sentence for the person.
        """
        return self._latch.reset(self._watch.present(wall_s))

    def on_tick(self, wall_s: float) -> list[Effect]:
        """Watchdog, to be called about 20 times a second: silence and targets without an answer."""
        if self._latch.cause is None:
            silence = self._watch.silence(wall_s)
            if silence is not None:
                return self._stop(silence, wall_s)
            paused = self._follow_hold_to_run(wall_s)
            if self._hold_to_run.paused:
                return paused
            if self._run is not None and wall_s > self._answer_due_s:
                waited = f"{self._limits.progress_timeout_s:.1f} s"
                what = f"The robot did not answer a target for {waited}."
                return self._stop(cause(Code.NO_PROGRESS, what, waited), wall_s)
        shown, self._shown_causes = self._shown_causes, self._present_codes(wall_s)
        return [StateChanged()] if shown != self._shown_causes else []

    def on_target_publishers(self, count: int, wall_s: float) -> list[Effect]:
        """Take in how many publishers the target topic has, the supervisor included."""
        wrong = self._watch.on_target_publishers(count)
        return self._stop(wrong, wall_s) if wrong is not None else []

    def status(self, wall_s: float) -> GateStatus:
        """The stop as people see it."""
        latched, counters = self._latch.cause, self._counters
        released = latched is None and self._hold_to_run.released(wall_s)
        state = GateState.READY if self._run is None or released else GateState.RUNNING
        code = Refusal.HOLD_RELEASED.value if released else ""
        return GateStatus(
            stamp_ns=self._stamp_ns,
            state=state if latched is None else GateState.LATCHED,
            code=code if latched is None else latched.code.value,
            message=(MESSAGE if released else "") if latched is None else latched.message,
            value="" if latched is None else latched.value,
            latched_at_s=self._latch.latched_at_s,
            present_causes=self._present_codes(wall_s),
            targets_sent=counters.targets_sent,
            targets_clipped=counters.targets_clipped,
            chunks_executed=counters.chunks_executed,
            chunks_rejected=counters.chunks_rejected,
            latches=self._latch.count,
        )

    @property
    def _stamp_ns(self) -> int:
        measured = self._watch.measured
        return measured.stamp_ns if measured is not None else 0

    def _judge(self, chunk: Chunk, wall_s: float) -> Execution | Cause:
        """Prepare a chunk, or say what is wrong with it.

        What it asks for does not matter while a person's rows replace it.
        """
        plan = plan_chunk(chunk, self._limits)
        if isinstance(plan, Plan):
            return Execution(chunk, plan, self._limits)
        measured = self._watch.measured
        if measured is None or not self._replaces(plan, wall_s):
            return plan
        return Execution(chunk, void_plan(chunk, measured), self._limits, void=True)

    def _replaces(self, wrong: Cause, wall_s: float) -> bool:
        return wrong.code in REPLACED and self._takeover.engaged(wall_s)

    def _follow_hold_to_run(self, wall_s: float) -> list[Effect]:
        """Hold the arm when the button is released, and let it go on when it is held again."""
        button, run, measured = self._hold_to_run, self._run, self._watch.measured
        if button.paused == button.released(wall_s) or self._latch.cause is not None:
            return []
        if not button.paused:
            button.pause(self._stamp_ns)
            effects, self._last = self._hold(), None
            self._pace.forget()
            return [*effects, StateChanged()]
        goes_on = button.resume(self._stamp_ns)
        if run is None or measured is None:
            return [StateChanged()]
        self._answer_due_s = wall_s + self._limits.progress_timeout_s
        if not run.started:
            if run.chunk.stamp_ns > self._stamp_ns:
                return [StateChanged()]
            if age_cause(run.chunk, self._stamp_ns, self._limits) is None:
                return [*self._start(run, wall_s), StateChanged()]
            self._run = None
            return [self._reject(run.chunk, Refusal.HOLD_RELEASED), StateChanged()]
        if goes_on and not run.all_sent:
            run.arrived(measured)
            here = seed(None, measured, self._limits)
            return [*self._send(run, here, measured, wall_s), StateChanged()]
        if run.all_sent:
            return [StateChanged()]
        self._run = None
        reason = Refusal.HOLD_RELEASED.value
        return [run.outcome(ChunkResult.ABORTED, reason, measured), StateChanged()]

    def _start(self, run: Execution, wall_s: float) -> list[Effect]:
        measured = self._watch.measured
        assert measured is not None  # nothing runs before a state was heard: the reset is refused
        wrong = age_cause(run.chunk, measured.stamp_ns, self._limits)
        if wrong is None and not run.void:
            wrong = start_cause(run.plan, measured, self._last_asked, self._limits)
        if wrong is not None:
            if not self._replaces(wrong, wall_s):
                return self._stop(wrong, wall_s)
            run.void = True
        if not run.void:
            self._last_asked = run.plan.quaternion
        return self._send(run, seed(self._last, measured, self._limits), measured, wall_s)

    def _send(
        self, run: Execution, before: ToolPose, measured: Measured, wall_s: float
    ) -> list[Effect]:
        hand = self._takeover.hand(measured.stamp_ns, wall_s)
        opening = self._commanded_width_m(measured) / self._limits.gripper_max_width_m
        run.prepare(before, measured, opening, hand)
        pose = run.next_pose(before, self._pace, measured)
        if isinstance(pose, Cause) and run.by_person:
            run.stay(before)
            pose = run.next_pose(before, self._pace, measured)
        if isinstance(pose, Cause):
            return self._stop(pose, wall_s)
        clipped = run.steps_clipped
        opening = run.send(pose, before, self._pace, measured.stamp_ns)
        self._last = pose
        self._counters.targets_clipped += run.steps_clipped - clipped
        self._width_m = opening * self._limits.gripper_max_width_m
        self._answer_due_s = wall_s + self._limits.progress_timeout_s
        return [self._target(self._last, measured, self._width_m, hold=False)]

    def _stop(self, wrong: Cause, wall_s: float) -> list[Effect]:
        """Latch; the hold goes out before anything else."""
        if not self._latch.set(wrong, wall_s):
            return []
        self._pace.forget()
        self._yields_left = round(YIELD_S * self._limits.control_rate_hz)
        effects: list[Effect] = self._hold()
        self._takeover.let_go()
        run, self._run, self._last, self._last_asked = self._run, None, None, None
        measured = self._watch.measured
        if run is not None and measured is not None:
            if run.started:
                effects.append(run.outcome(ChunkResult.ABORTED, wrong.code.value, measured))
            else:
                effects.append(self._reject(run.chunk, wrong.code))
        return [*effects, StateChanged()]

    def _yield_to(self, causes: list[Cause]) -> list[Effect]:
        """Hold again where the arm is pushed to, as long as it presses too hard."""
        if self._yields_left == 0 or all(item.code is not Code.FORCE for item in causes):
            return []
        self._yields_left -= 1
        return self._hold()

    def _hold(self) -> list[Effect]:
        """Stay where the arm is; the gripper keeps its last command, so that nothing is dropped."""
        measured = self._watch.measured
        if measured is None:
            return []
        here = ToolPose(measured.position, measured.quaternion)
        return [self._target(here, measured, self._commanded_width_m(measured), hold=True)]

    def _commanded_width_m(self, measured: Measured) -> float:
        """The gripper's last command, or what it measures before the first."""
        if self._width_m is not None:
            return self._width_m
        return min(max(measured.width_m, 0.0), self._limits.gripper_max_width_m)

    def _target(self, tool: ToolPose, measured: Measured, width_m: float, *, hold: bool) -> Target:
        self._counters.targets_sent += 1
        pose = Pose(np.array(tool.position), np.array(tool.quaternion))
        number, frame = self._counters.targets_sent, self._limits.base_frame
        return Target(measured.stamp_ns, number, hold, pose, width_m, frame)

    def _reject(self, chunk: Chunk, reason: Code | Refusal) -> Outcome:
        self._counters.chunks_rejected += 1
        return unsent_outcome(chunk, ChunkResult.REJECTED, reason.value, self._stamp_ns)

    def _in_order(self, chunk: Chunk) -> bool:
        """Note a policy's decision; False when it or a later one of its episode came before.

        An episode that is repeated after an abort numbers its decisions anew, from 0.
        """
        if chunk.source is not ChunkSource.POLICY:
            return True
        last = self._last_decision
        if last is not None and last[0] == chunk.episode_id and chunk.sequence <= last[1]:
            repeated = chunk.decision == 0 and chunk.stamp_ns > last[2]
            if not repeated:
                return False
        self._last_decision = (chunk.episode_id, chunk.sequence, chunk.stamp_ns)
        return True

    def _present_codes(self, wall_s: float) -> tuple[str, ...]:
        return tuple(item.code.value for item in self._watch.present(wall_s))
