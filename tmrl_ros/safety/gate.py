"""The one gate to the robot: every chunk passes here, and every target comes from here.

The gate is driven by its inputs alone and keeps no clock and no thread. Each `on_*` method takes
the monotonic wall time in seconds and returns the effects in the order in which they must happen.
"""

from __future__ import annotations

from tmrl_ros.core.config import RobotConfig, SafetyConfig
from tmrl_ros.core.types import Chunk, ChunkResult, Outcome, RobotSample, TeleopCommand
from tmrl_ros.safety.causes import Cause, Code, Refusal, cause
from tmrl_ros.safety.chunk_rules import Plan, age_cause, plan_chunk, void_plan
from tmrl_ros.safety.execution import Execution, unsent_outcome
from tmrl_ros.safety.hold_to_run import HoldToRun
from tmrl_ros.safety.latch import Latch
from tmrl_ros.safety.limits import Limits
from tmrl_ros.safety.line import Line, Overlap
from tmrl_ros.safety.state_rules import Measured
from tmrl_ros.safety.status import Counters, Effect, GateStatus, StateChanged, Underway, status_of
from tmrl_ros.safety.stream import TargetStream
from tmrl_ros.safety.takeover import REPLACED, Takeover
from tmrl_ros.safety.watch import RobotWatch

YIELD_S = 1.0
"""How long a stopped arm that presses too hard is told again and again to stay where it now is.

One hold keeps pressing where the arm stood when it was sent, and in a simulation in which time
passes only with targets the force, and with it the refusal of every reset, would last for ever.
"""


class Gate:
    """State machine LATCHED -> READY <-> RUNNING -> LATCHED; it starts latched."""

    def __init__(
        self,
        safety: SafetyConfig,
        robot: RobotConfig,
        wall_s: float = 0.0,
        overlap: Overlap | None = None,
    ) -> None:
        """Start latched at wall time `wall_s`."""
        self._limits = Limits.of(safety, robot)
        self._watch = RobotWatch(self._limits)
        self._latch = Latch(cause(Code.START, "The supervisor has just started."), wall_s)
        self._takeover = Takeover(safety, self._limits)
        self._hold_to_run = HoldToRun(safety)
        self._counters = Counters()
        self._overlap = overlap or Overlap()
        self._line = Line()
        self._stream = TargetStream(self._limits, self._counters)
        self._answer_due_s = 0.0
        self._next_due_s: float | None = None  # rows wait for the next chunk until then
        self._yields_left = 0
        self._shown_causes: tuple[str, ...] = ()

    def on_state(self, sample: RobotSample, wall_s: float) -> list[Effect]:
        """Take in a robot state; an advanced tick answers the last target and asks for the next."""
        causes, advanced = self._watch.on_state(sample, wall_s)
        if self._latch.cause is not None:
            return self._yield_to(causes) if advanced else []
        if causes:
            return self._stop(causes[0], wall_s)
        paused = self._follow_hold_to_run(wall_s)
        run, measured = self._line.running, self._watch.measured
        if run is None or measured is None or self._next_due_s is not None:
            return paused
        if not run.started:
            due = sample.stamp_ns >= run.chunk.stamp_ns and not self._hold_to_run.paused
            return self._start(run, wall_s) if due else paused
        if not advanced:
            return paused
        run.arrived(measured)
        if run.all_sent:
            return [*paused, *self._finish(run, measured, wall_s)]
        if self._hold_to_run.paused:
            return paused
        return self._advance(run, measured, wall_s)

    def on_chunk(self, chunk: Chunk, wall_s: float) -> list[Effect]:
        """Judge a chunk and, if it may be executed, send its first target.

        One that goes on from the chunk that runs waits for the end of that.
        """
        effects = self._admit(chunk, wall_s)
        run = self._line.running
        if self._next_due_s is None or run is None or chunk.sequence <= run.chunk.sequence:
            return effects
        return [*effects, *self._go_on(wall_s)]

    def _admit(self, chunk: Chunk, wall_s: float) -> list[Effect]:
        line = self._line
        if chunk.execute_steps == 0:
            line.in_order(chunk)
            if line.may_wait(chunk):
                line.behind = chunk
                return []
            return [unsent_outcome(chunk, ChunkResult.SKIPPED, "", self._stamp_ns)]
        if self._latch.cause is not None:
            return [self._reject(chunk, Refusal.LATCHED)]
        plan = self._judge(chunk, wall_s)
        if isinstance(plan, Cause):
            return [*self._stop(plan, wall_s), self._reject(chunk, plan.code)]
        if not line.in_order(chunk):
            return [self._reject(chunk, Refusal.OUT_OF_ORDER)]
        waits = chunk.committed_steps > 0 and line.may_wait(chunk)
        if line.running is not None and not waits:
            return [self._reject(chunk, Refusal.BUSY)]
        if not (waits or line.goes_on(chunk)):
            return [self._reject(chunk, Refusal.PREFIX_NOT_SENT)]
        wrong = age_cause(chunk, self._stamp_ns, self._limits)
        if wrong is not None:
            return [*self._stop(wrong, wall_s), self._reject(chunk, wrong.code)]
        if waits:
            line.behind = plan
            return []
        self._answer_due_s = wall_s + self._limits.progress_timeout_s
        paused = self._follow_hold_to_run(wall_s)
        line.running = plan
        if chunk.stamp_ns > self._stamp_ns or self._hold_to_run.paused:
            # The state it was made from is still on its way to us, or nobody holds the button.
            return [*paused, StateChanged()]
        return [*self._start(plan, wall_s), StateChanged()]

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
        return [*(self._stream.hold(self._watch.measured) if heard else []), StateChanged()]

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
            if self._next_due_s is not None:
                return self._go_on(wall_s) if wall_s > self._next_due_s else []
            if self._line.running is not None and wall_s > self._answer_due_s:
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
        released = self._latch.cause is None and self._hold_to_run.released(wall_s)
        return status_of(
            self._latch,
            self._counters,
            stamp_ns=self._stamp_ns,
            runs=self._line.running is not None,
            released=released,
            present=self._present_codes(wall_s),
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
        button, run, measured = self._hold_to_run, self._line.running, self._watch.measured
        if button.paused == button.released(wall_s) or self._latch.cause is not None:
            return []
        if not button.paused:
            button.pause(self._stamp_ns)
            effects = self._stream.hold(measured)
            self._stream.rest()
            return [*effects, StateChanged()]
        goes_on = button.resume(self._stamp_ns)
        if run is None or measured is None:
            return [StateChanged()]
        self._answer_due_s = wall_s + self._limits.progress_timeout_s
        self._next_due_s = None
        if not run.started:
            if run.chunk.stamp_ns > self._stamp_ns:
                return [StateChanged()]
            if age_cause(run.chunk, self._stamp_ns, self._limits) is None:
                return [*self._start(run, wall_s), StateChanged()]
            return [*self._drop(Refusal.HOLD_RELEASED), StateChanged()]
        if run.all_sent:
            return [StateChanged()]
        if goes_on:
            run.arrived(measured)
            return [*self._send(run, measured, wall_s), StateChanged()]
        return [*self._drop(Refusal.HOLD_RELEASED), StateChanged()]

    def _start(self, run: Execution, wall_s: float) -> list[Effect]:
        measured = self._watch.measured
        assert measured is not None  # nothing runs before a state was heard: the reset is refused
        if not run.void and not self._stream.joins(run, measured):
            if not self._takeover.engaged(wall_s):
                return [*self._drop(Refusal.PREFIX_NOT_SENT), StateChanged()]
            run.void = True
        wrong = age_cause(run.chunk, measured.stamp_ns, self._limits)
        if wrong is None and not run.void:
            wrong = self._stream.start_cause(run, measured)
        if wrong is not None:
            if not self._replaces(wrong, wall_s):
                return self._stop(wrong, wall_s)
            run.void = True
        if not run.void:
            self._stream.begins(run)
        return self._advance(run, measured, wall_s)

    def _advance(self, run: Execution, measured: Measured, wall_s: float) -> list[Effect]:
        """Send the next row, and say when the next chunk is wanted."""
        wanted = run.wants_next(self._overlap.rows)
        if not wanted:
            return self._send(run, measured, wall_s)
        underway = Underway(run.outcome(ChunkResult.EXECUTED, "", measured, final=False))
        if self._overlap.waits and self._line.behind is None:
            self._next_due_s = wall_s + self._limits.progress_timeout_s
            return [underway]
        return [*self._send(run, measured, wall_s), underway]

    def _go_on(self, wall_s: float) -> list[Effect]:
        """Send the rows that have waited for the next chunk."""
        self._next_due_s = None
        run, measured = self._line.running, self._watch.measured
        if run is None or measured is None or self._hold_to_run.paused:
            return []
        return self._send(run, measured, wall_s)

    def _send(self, run: Execution, measured: Measured, wall_s: float) -> list[Effect]:
        hand = self._takeover.hand(measured.stamp_ns, wall_s)
        target = self._stream.next(run, measured, hand)
        if isinstance(target, Cause):
            return self._stop(target, wall_s)
        self._answer_due_s = wall_s + self._limits.progress_timeout_s
        return [target]

    def _finish(self, run: Execution, measured: Measured, wall_s: float) -> list[Effect]:
        """A chunk was carried out to its end; the one behind it begins in the same period."""
        self._counters.chunks_executed += 1
        line, done = self._line, run.outcome(ChunkResult.EXECUTED, "", measured)
        line.ended(run.chunk)
        behind = line.take_behind()
        if behind is None:
            return [done, StateChanged()]
        if isinstance(behind, Chunk):
            skipped = unsent_outcome(behind, ChunkResult.SKIPPED, "", self._stamp_ns)
            return [done, skipped, StateChanged()]
        line.running = behind
        self._answer_due_s = wall_s + self._limits.progress_timeout_s
        due = behind.chunk.stamp_ns <= measured.stamp_ns and not self._hold_to_run.paused
        return [done, *(self._start(behind, wall_s) if due else []), StateChanged()]

    def _drop(self, reason: Code | Refusal) -> list[Effect]:
        """Outcomes of the chunk that runs, which ends here, and of the one behind it."""
        self._next_due_s = None
        dropped = self._line.drop(reason.value, self._watch.measured)
        rejected = [item for item in dropped if item.result is ChunkResult.REJECTED]
        self._counters.chunks_rejected += len(rejected)
        return [*dropped]

    def _stop(self, wrong: Cause, wall_s: float) -> list[Effect]:
        """Latch; the hold goes out before anything else."""
        if not self._latch.set(wrong, wall_s):
            return []
        self._yields_left = round(YIELD_S * self._limits.control_rate_hz)
        effects: list[Effect] = [*self._stream.hold(self._watch.measured)]
        self._takeover.let_go()
        self._stream.forget()
        return [*effects, *self._drop(wrong.code), StateChanged()]

    def _yield_to(self, causes: list[Cause]) -> list[Effect]:
        """Hold again where the arm is pushed to, as long as it presses too hard."""
        if self._yields_left == 0 or all(item.code is not Code.FORCE for item in causes):
            return []
        self._yields_left -= 1
        return [*self._stream.hold(self._watch.measured)]

    def _reject(self, chunk: Chunk, reason: Code | Refusal) -> Outcome:
        self._counters.chunks_rejected += 1
        return unsent_outcome(chunk, ChunkResult.REJECTED, reason.value, self._stamp_ns)

    def _present_codes(self, wall_s: float) -> tuple[str, ...]:
        return tuple(item.code.value for item in self._watch.present(wall_s))
