"""No sequence of inputs, of any values, gets a target through that breaks a limit."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis.extra.numpy import arrays
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from safety_cell import (
    BOX,
    HOME,
    LIMITS,
    MAX_TARGET_STEP_M,
    MAX_TARGET_TURN_RAD,
    PERIOD_NS,
    ROBOT,
    SAFETY,
    TOOL_DOWN,
    chunk,
    pose,
    rows,
    sample,
)

from tmrl_ros.core.types import Chunk, ChunkResult, ChunkSource, Outcome, Pose, RobotMode, Target
from tmrl_ros.safety.gate import Gate
from tmrl_ros.safety.geometry import UNIT_TOLERANCE, all_plausible, angle_between
from tmrl_ros.safety.joint_rules import end_cause, joint_motion, slowed_share
from tmrl_ros.safety.line import Overlap
from tmrl_ros.safety.status import Effect, GateState, Underway

LOW, HIGH = np.array(SAFETY.workspace_min_m), np.array(SAFETY.workspace_max_m)
BOX_LOW, BOX_HIGH = np.array(BOX.min_m), np.array(BOX.max_m)
ROUNDING = 1e-9

any_float = st.floats(width=64)
mad_float = st.one_of(st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308]), any_float)
small = st.floats(-0.2, 0.2)
near_home = st.tuples(st.floats(0.2, 0.8), st.floats(-0.5, 0.5), st.floats(-0.1, 0.7)) | st.tuples(
    st.floats(0.40, 0.50), st.floats(-0.05, 0.05), st.floats(0.15, 0.25)
)
edge = st.tuples(
    st.sampled_from([0.28, 0.35, 0.72]), st.sampled_from([-0.4, 0.0, 0.4]), st.just(0.02)
) | st.tuples(  # beside, above and in the keep-out box
    st.sampled_from([0.52, 0.54, 0.60, 0.66]), st.sampled_from([0.08, 0.2, 0.31]), st.just(0.25)
)
rotation = st.floats(-0.6, 0.6).map(
    lambda half: np.array([math.cos(half), math.sin(half), 0.0, 0.0])
) | st.just(TOOL_DOWN)
mad_rotation = arrays(np.float64, 4, elements=mad_float)
mostly = st.sampled_from([True, True, True, False])
integers = st.integers(0, 2**63 - 1)


def excess_m(position: np.ndarray) -> float:
    """How far a position is outside the workspace."""
    return float(np.linalg.norm(position - np.clip(position, LOW, HIGH)))


@st.composite
def walks(draw: st.DrawFn) -> np.ndarray:
    """Rows that wander, mostly within what is allowed."""
    steps = draw(st.integers(1, 6))
    scale = draw(st.sampled_from([0.01, 0.05, 0.1]))
    moves = draw(arrays(np.float64, (steps, 3), elements=st.floats(-1, 1)))
    opening = draw(arrays(np.float64, (steps, 1), elements=st.floats(-0.06, 1.06)))
    return np.hstack([np.cumsum(scale * moves, axis=0), opening])


class GateMachine(RuleBasedStateMachine):
    """Drives the gate with sound and mad inputs and keeps its own book of what may happen."""

    safety = SAFETY

    @initialize(ready=st.booleans(), rows=st.sampled_from([0, 0, 2, 6]), waits=st.booleans())
    def start(self, ready: bool, rows: int, waits: bool) -> None:
        self.gate = Gate(self.safety, ROBOT, overlap=Overlap(rows, waits))
        self.asked: Chunk | None = None  # the policy's last sensible chunk
        self.wanted: Counter[int] = Counter()
        self.wall_s = 0.0
        self.tick = 1
        self.position: tuple[float, ...] = HOME
        self.measured = pose()  # of the last sound state
        self.rows_sent = 0  # of the chunk that runs
        self.paused = False  # told to stay by something else than the latch
        self.sequence = 0
        self.open = False  # a reset succeeded and nothing has stopped the arm since
        self.last: Target | None = None
        self.step = np.zeros(3)  # from the target before the last one to it
        self.received: Counter[int] = Counter()
        self.answered: Counter[int] = Counter()
        self.send_state()
        if ready:
            self.everything_is_put_right(None)

    def take(self, effects: list[Effect]) -> None:
        """Check effects in the order in which they would be carried out."""
        for effect in effects:
            if isinstance(effect, Target):
                self.check_target(effect)
            elif isinstance(effect, Outcome):
                self.check_outcome(effect)
            elif isinstance(effect, Underway):
                self.check_underway(effect.done)
        if self.gate.status(self.wall_s).state is GateState.LATCHED:
            self.open = False

    def check_target(self, target: Target) -> None:
        position, quaternion = target.pose.position, target.pose.quaternion
        assert np.isfinite(position).all()
        assert abs(np.linalg.norm(quaternion) - 1.0) < ROUNDING
        assert 0.0 <= target.gripper_width_m <= ROBOT.gripper_max_width_m
        assert target.frame_id == ROBOT.base_frame
        if target.hold:
            self.last, self.paused, self.step = None, True, np.zeros(3)
            if self.gate.status(self.wall_s).state is GateState.LATCHED:
                self.open = False
            return
        assert self.open, "a target that moves the arm went out while the stop was latched"
        if self.rows_sent == 0 or self.paused:
            self.check_first_target(position, quaternion)
        else:
            assert self.last is not None
            self.check_step(position, [self.last.pose.position])
            self.check_turn(quaternion, [self.last.pose.quaternion])
        assert excess_m(position) <= SAFETY.max_workspace_excess_m + ROUNDING
        self.check_joints(position, quaternion)
        self.check_change(target)
        self.last = target
        self.rows_sent += 1
        self.paused = False

    def starts(self) -> list[Pose]:
        """From where the target may have been counted."""
        return [self.measured, *([self.last.pose] if self.last else [])]

    def check_joints(self, position: np.ndarray, quaternion: np.ndarray) -> None:
        """From the measured joints, none is brought too near its end, nor too fast there."""
        q, limits = tuple(self.q.tolist()), LIMITS.joints
        asked = tuple(position.tolist()), tuple(quaternion.tolist())
        fast = []
        for start in self.starts():
            before = tuple(start.position.tolist()), tuple(start.quaternion.tolist())
            goal, motion, missed = joint_motion(q, before, asked, limits)
            assert end_cause(q, goal, limits) is None, "a joint too near its end"
            assert missed <= 1e-3, "out of reach"
            stands = max(map(abs, motion)) < 1e-6
            fast.append(not stands and slowed_share(goal, motion, limits) < 1.0 - 1e-6)
        assert not all(fast), "a joint too fast"

    def check_change(self, target: Target) -> None:
        """Not more abrupt than allowed, unless it brakes or stood for a moment."""
        ways = [target.pose.position - start.position for start in self.starts()]
        paused = not self.last or target.stamp_ns - self.last.stamp_ns > 1.5 * PERIOD_NS
        before = [np.zeros(3)] if paused else [self.step]
        gentle = [
            np.linalg.norm(way - step) <= LIMITS.max_step_change_m + ROUNDING
            or np.linalg.norm(way) <= np.linalg.norm(step) + ROUNDING
            for way in (ways if self.rows_sent == 0 else ways[-1:])
            for step in before
        ]
        assert any(gentle), "too abrupt"
        self.step = ways[-1]

    def check_way(self, position: np.ndarray, near: list[np.ndarray]) -> None:
        """Neither the target nor the straight way to it lies in the keep-out box."""

        def leads_inside(start: np.ndarray) -> bool:
            ways = start + np.linspace(0.0, 1.0, 21)[1:, None] * (position - start)
            inside = (ways > BOX_LOW + ROUNDING) & (ways < BOX_HIGH - ROUNDING)
            return bool(inside.all(axis=1).any())

        assert not all(leads_inside(start) for start in near), "led into a keep-out box"

    def check_first_target(self, position: np.ndarray, quaternion: np.ndarray) -> None:
        """The first of a chunk is counted from the last target when the arm is near it."""
        measured, near = self.measured.position, [self.measured.position]
        offset_m = SAFETY.max_start_offset_m
        if self.last and np.linalg.norm(self.last.pose.position - measured) <= offset_m:
            near.append(self.last.pose.position)
        self.check_step(position, near)
        assert np.linalg.norm(position - measured) <= offset_m + excess_m(measured) + ROUNDING
        turns = [self.measured.quaternion]
        if len(near) > 1 and self.last:
            turns.append(self.last.pose.quaternion)
        self.check_turn(quaternion, turns)

    def check_turn(self, quaternion: np.ndarray, near: list[np.ndarray]) -> None:
        turn = min(angle_between(tuple(quaternion), tuple(other)) for other in near)
        assert turn <= MAX_TARGET_TURN_RAD + 1e-6, "turned faster than allowed"

    def check_step(self, position: np.ndarray, near: list[np.ndarray]) -> None:
        self.check_way(position, near)
        step = min(float(np.linalg.norm(position - point)) for point in near)
        assert step <= MAX_TARGET_STEP_M + ROUNDING, "faster than the speed limit"
        assert step <= SAFETY.max_step_m + ROUNDING
        outside = max(excess_m(point) for point in near)
        assert excess_m(position) <= outside + ROUNDING, "led further out of the workspace"

    def check_outcome(self, outcome: Outcome) -> None:
        self.answered[outcome.decision] += 1
        earlier = [number for number in self.received if number < outcome.decision]
        late = outcome.reason in ("BUSY", "OUT_OF_ORDER") or outcome.result is ChunkResult.SKIPPED
        assert late or all(self.answered[number] for number in earlier), "out of order"
        if outcome.steps_sent:
            assert outcome.steps_sent == self.rows_sent
            self.rows_sent = 0
        assert outcome.executed.shape == outcome.measured.shape == (outcome.steps_sent, 4)
        assert np.isfinite(outcome.executed).all() and np.isfinite(outcome.measured).all()
        assert 0 <= outcome.steps_clipped <= outcome.steps_sent
        assert outcome.duration_s >= 0.0
        assert (outcome.steps_sent > 0) == (
            outcome.result in (ChunkResult.EXECUTED, ChunkResult.ABORTED)
        )
        quiet = outcome.result in (ChunkResult.EXECUTED, ChunkResult.SKIPPED)
        assert (outcome.reason == "") == quiet

    def check_underway(self, done: Outcome) -> None:
        """The next chunk is wanted once of every chunk, and told what was done by then."""
        self.wanted[done.decision] += 1
        assert self.wanted[done.decision] == 1
        assert self.received[done.decision] == 1
        assert not self.answered[done.decision]
        assert done.steps_sent <= self.rows_sent
        assert done.executed.shape == done.measured.shape == (done.steps_sent, 4)

    def send_chunk(self, **changes: Any) -> Chunk:
        number = len(self.received)  # tells chunks apart, whatever else they say
        self.received[number] += 1
        asked = chunk(tick=self.tick, **{"sequence": self.sequence, **changes}, decision=number)
        self.take(self.gate.on_chunk(asked, self.wall_s))
        return asked

    @rule(move=st.tuples(small, small, small), ticks=st.integers(0, 2))
    def robot_moves(self, move: tuple[float, ...], ticks: int) -> None:
        self.tick += ticks
        scale = 0.2
        x, y, z = (a + scale * b for a, b in zip(self.position, move, strict=True))
        self.send_state(position=(x, y, z))

    def send_state(self, position: tuple[float, ...] | None = None, **changes: Any) -> None:
        position = self.position if position is None else position
        state = sample(**{"tick": self.tick, "position": position, **changes})
        fields = (state.ee_pose.position, state.ee_pose.quaternion, state.wrench)
        sound = all(all_plausible(field) for field in (*fields, state.q))
        sound = sound and all_plausible(np.array([state.gripper_width_m]))
        norm = math.hypot(*state.ee_pose.quaternion)
        if sound and abs(norm - 1.0) <= UNIT_TOLERANCE:
            self.position = tuple(state.ee_pose.position)
            self.q = state.q
            self.measured = Pose(state.ee_pose.position, state.ee_pose.quaternion / norm)
        self.take(self.gate.on_state(state, self.wall_s))

    @rule(position=near_home, quaternion=rotation)
    def robot_is_elsewhere(self, position: tuple[float, ...], quaternion: np.ndarray) -> None:
        self.tick += 1
        self.send_state(position, ee_pose=Pose(np.array(position), quaternion))

    @rule(
        values=arrays(np.float64, 3, elements=mad_float),
        quaternion=rotation | mad_rotation,
        wrench=arrays(np.float64, 6, elements=mad_float),
        width=mad_float,
    )
    def robot_reports_nonsense(
        self, values: np.ndarray, quaternion: np.ndarray, wrench: np.ndarray, width: float
    ) -> None:
        self.tick += 1
        mad = Pose(values, quaternion)
        self.send_state(ee_pose=mad, wrench=wrench, gripper_width_m=width)

    @rule(turn=arrays(np.float64, 7, elements=mad_float | small))
    def robot_reports_other_joints(self, turn: np.ndarray) -> None:
        self.tick += 1
        joints = sample(1, self.position).q + turn
        self.send_state(q=joints)

    @rule(mode=st.sampled_from(RobotMode), faults=st.sampled_from([(), (), ("power_limit",)]))
    def robot_changes_mode(self, mode: RobotMode, faults: tuple[str, ...]) -> None:
        self.tick += 1
        self.send_state(mode=mode, faults=faults)

    @rule(tick=integers, stamp_ns=st.integers(-(2**40), 2**62))
    def clock_jumps(self, tick: int, stamp_ns: int) -> None:
        self.send_state(tick=tick, stamp_ns=stamp_ns)

    @rule(share=st.floats(0.0, 1.0))
    def robot_follows(self, share: float) -> None:
        """The arm goes part of the way to its target, as arms do."""
        self.tick += 1
        goal = self.position if self.last is None else self.last.pose.position
        here = np.array(self.position)
        self.send_state(tuple(here + share * (goal - here)))

    def recover(self, wanted: bool) -> None:
        """Most chunks should meet an open gate, or little would ever move."""
        if wanted and self.gate.status(self.wall_s).state is GateState.LATCHED:
            self.everything_is_put_right(None)

    @rule(
        actions=walks(),
        data=st.data(),
        place=st.none() | st.none() | near_home | edge,
        recover=mostly,
    )
    def policy_asks_sensibly(
        self,
        actions: np.ndarray,
        data: st.DataObject,
        place: tuple[float, ...] | None,
        recover: bool,
    ) -> None:
        if place is not None:
            self.everything_is_put_right(place)
        self.recover(recover)
        self.sequence += 1
        self.asked = self.send_chunk(
            reference_pose=pose(self.position),
            actions=actions,
            execute_steps=data.draw(st.integers(0, len(actions))),
        )

    @rule(
        fresh=walks(),
        data=st.data(),
        honest=mostly,
        beside=st.sampled_from([0.0, 0.0, 0.0, 0.02, 0.2]),
        again=st.sampled_from([1, 1, 1, 1, 0, 2]),
    )
    def policy_goes_on(
        self, fresh: np.ndarray, data: st.DataObject, honest: bool, beside: float, again: int
    ) -> None:
        """The next chunk begins with rows that the one before carries out, or claims to."""
        if self.asked is None or self.asked.execute_steps < 1:
            return
        before, reference = self.asked, np.array(self.position)
        done = before.actions[before.committed_steps :][: before.execute_steps].copy()
        done[:, :3] += before.reference_pose.position - reference
        if honest:
            committed = done[data.draw(st.integers(0, len(done) - 1)) :]
        else:
            committed = done[: data.draw(st.integers(0, len(done)))]
        fresh[:, :3] += done[-1, :3] + beside
        self.sequence += again
        self.asked = self.send_chunk(
            reference_pose=pose(self.position),
            actions=np.concatenate([committed, fresh]),
            committed_steps=len(committed),
            execute_steps=data.draw(st.integers(0, len(fresh))),
        )

    @rule(
        actions=arrays(
            np.float64,
            st.tuples(st.integers(0, 3), st.integers(1, 5)),
            elements=st.one_of(mad_float, small),
        ),
        steps=st.integers(-1, 5),
        reference=arrays(np.float64, 3, elements=mad_float) | near_home.map(np.array),
        quaternion=rotation | mad_rotation,
        sequence=integers,
        source=st.sampled_from(ChunkSource),
        rate_hz=st.just(20.0) | mad_float,
        frame_id=st.sampled_from([ROBOT.base_frame, "", "world"]),
        ahead_ns=st.sampled_from([0, 0, PERIOD_NS, -PERIOD_NS, 2**40, -(2**40)]),
        recover=mostly,
    )
    def policy_asks_nonsense(
        self,
        actions: np.ndarray,
        steps: int,
        reference: np.ndarray,
        quaternion: np.ndarray,
        sequence: int,
        source: ChunkSource,
        rate_hz: float,
        frame_id: str,
        ahead_ns: int,
        recover: bool,
    ) -> None:
        self.recover(recover)
        self.send_chunk(
            actions=actions,
            execute_steps=steps,
            reference_pose=Pose(reference, TOOL_DOWN),
            orientation=quaternion,
            sequence=sequence,
            source=source,
            control_rate_hz=rate_hz,
            frame_id=frame_id,
            stamp_ns=self.tick * PERIOD_NS + ahead_ns,
        )

    @rule(value=mad_float, row=st.integers(0, 3), column=st.integers(0, 3), recover=mostly)
    def policy_spoils_one_number(self, value: float, row: int, column: int, recover: bool) -> None:
        self.recover(recover)
        self.sequence += 1
        actions = rows(4)
        actions[row, column] = value
        self.send_chunk(reference_pose=pose(self.position), actions=actions)

    @rule(quaternion=rotation, recover=mostly)
    def policy_turns_the_tool(self, quaternion: np.ndarray, recover: bool) -> None:
        self.recover(recover)
        self.sequence += 1
        self.send_chunk(reference_pose=pose(self.position), orientation=quaternion)

    @rule()
    def operator_stops(self) -> None:
        self.take(self.gate.on_stop(self.wall_s))
        assert self.gate.status(self.wall_s).state is GateState.LATCHED

    @rule(seconds=st.sampled_from([0.05, 0.5, 2.0, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.wall_s += seconds
        self.take(self.gate.on_tick(self.wall_s))

    @rule(count=st.sampled_from([0, 1, 1, 1, 2]))
    def publishers_are_counted(self, count: int) -> None:
        self.take(self.gate.on_target_publishers(count, self.wall_s))

    def reset(self) -> bool:
        latched = self.gate.status(self.wall_s).state is GateState.LATCHED
        causes = self.gate.status(self.wall_s).present_causes
        ok, message = self.gate.on_reset(self.wall_s)
        assert message
        if latched:
            assert ok == (not causes), "refused exactly while a cause is present"
            self.open = ok
            self.last = None
        return ok

    @rule()
    def operator_resets(self) -> None:
        self.reset()

    @rule(place=st.none() | near_home)
    def everything_is_put_right(self, place: tuple[float, ...] | None) -> None:
        """Without this the machine would spend most of its time latched."""
        self.take(self.gate.on_target_publishers(1, self.wall_s))
        self.send_state(place or HOME)  # may go back in time
        self.tick += 1
        self.send_state(place or HOME)
        self.reset()

    @invariant()
    def no_chunk_is_answered_twice_and_two_at_most_wait(self) -> None:
        waiting = self.received - self.answered
        assert not self.answered - self.received
        status = self.gate.status(self.wall_s)
        runs = status.state is GateState.RUNNING or status.code == "HOLD_RELEASED"
        assert sum(waiting.values()) <= 2 * runs
        assert waiting or status.state is not GateState.RUNNING

    def teardown(self) -> None:
        self.take(self.gate.on_shutdown(self.wall_s))
        assert self.answered == self.received


TestGate = GateMachine.TestCase
TestGate.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
