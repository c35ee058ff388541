"""What holds for a policy holds for a person too, and without the button nothing moves at all."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, rule
from safety_cell import ROBOT, SAFETY, pose, rows
from test_gate_properties import GateMachine, edge, mad_float, mostly, near_home, small

from tmrl_ros.core.types import ChunkSource, Outcome, Target, TeleopCommand
from tmrl_ros.safety.status import Effect, GateState

speeds = st.tuples(*[st.floats(-0.8, 0.8)] * 3)


class PersonMachine(GateMachine):
    """A policy as in the other test, a person who takes the arm, and a hold-to-run button."""

    safety = SAFETY.model_copy(update={"hold_to_run": True})

    heard_s: float | None = None  # of a button that is held
    steered = False  # a person has ever held the arm

    @property
    def held(self) -> bool:
        return self.heard_s is not None and self.wall_s - self.heard_s <= self.safety.hold_timeout_s

    def check_target(self, target: Target) -> None:
        assert target.hold or self.held, "moved while nobody held the button"
        super().check_target(target)

    def check_outcome(self, outcome: Outcome) -> None:
        super().check_outcome(outcome)
        assert outcome.sources.shape == (outcome.steps_sent,)
        asked_by = {ChunkSource.HUMAN, outcome.source}
        assert set(outcome.sources.tolist()) <= asked_by
        assert self.steered or set(outcome.sources.tolist()) <= {outcome.source}

    def hold(self, held: bool) -> None:
        self.heard_s = self.wall_s if held else None
        self.take(self.gate.on_hold_to_run(held, self.wall_s))

    @rule(held=mostly)
    def button(self, held: bool) -> None:
        self.hold(held)

    def steer(self, **changes: object) -> list[Effect]:
        fields = {"device": "joystick", "engaged": True, "linear_mps": np.zeros(3)}
        said = TeleopCommand(
            **{**fields, "gripper": math.nan, "frame_id": "panda_link0", **changes}
        )
        self.steered = self.steered or said.engaged
        effects = self.gate.on_teleop(said, self.wall_s)
        self.take(effects)
        return effects

    @rule(speed=speeds, gripper=st.just(math.nan) | st.floats(-0.05, 1.05), engaged=mostly)
    def person_steers(self, speed: tuple[float, ...], gripper: float, engaged: bool) -> None:
        was_open = self.gate.status(self.wall_s).state is not GateState.LATCHED
        self.steer(linear_mps=np.array(speed), gripper=gripper, engaged=engaged)
        assert (self.gate.status(self.wall_s).state is not GateState.LATCHED) == was_open

    @rule(
        speed=st.tuples(mad_float, mad_float, mad_float),
        gripper=mad_float,
        device=st.sampled_from(["joystick", "keyboard"]),
        frame_id=st.sampled_from([ROBOT.base_frame, "", "world"]),
    )
    def stick_says_nonsense(
        self, speed: tuple[float, ...], gripper: float, device: str, frame_id: str
    ) -> None:
        self.steer(linear_mps=np.array(speed), gripper=gripper, device=device, frame_id=frame_id)

    @rule(speed=speeds, periods=st.integers(1, 6), move=st.tuples(small, small, small))
    def person_drives(
        self, speed: tuple[float, ...], periods: int, move: tuple[float, ...]
    ) -> None:
        self.drive(speed, periods, move)

    def drive(self, speed: tuple[float, ...], periods: int, move: tuple[float, ...]) -> None:
        """Commands and states in turns, as they come; the arm follows roughly."""
        for _ in range(periods):
            self.wall_s += 0.05
            self.hold(True)
            self.steer(linear_mps=np.array(speed))
            goal = self.position if self.last is None else self.last.pose.position
            self.tick += 1
            here = np.array(self.position)
            self.send_state(tuple(here + 0.9 * (np.array(goal) - here) + 0.01 * np.array(move)))

    @rule(
        place=edge | near_home,
        speed=st.tuples(*[st.sampled_from([-0.6, -0.2, 0.0, 0.2, 0.6])] * 3),
        rows_wanted=st.integers(1, 16),
        dx=small,
    )
    def person_drives_through_a_whole_chunk(
        self, place: tuple[float, ...], speed: tuple[float, ...], rows_wanted: int, dx: float
    ) -> None:
        """At walls and boxes too, with a policy that may ask for nonsense."""
        self.everything_is_put_right(place)
        self.hold(True)
        self.steer(linear_mps=np.array(speed))
        self.sequence += 1
        self.send_chunk(
            reference_pose=pose(self.position),
            actions=rows(rows_wanted, dx=dx),
            execute_steps=rows_wanted,
        )
        self.drive(speed, rows_wanted, (0.0, 0.0, 0.0))

    @rule(seconds=st.sampled_from([0.02, 0.1, 0.25]))
    def a_moment_passes(self, seconds: float) -> None:
        self.wall_s += seconds
        self.take(self.gate.on_tick(self.wall_s))

    def recover(self, wanted: bool) -> None:
        super().recover(wanted)
        if wanted:
            self.hold(True)

    @invariant()
    def a_released_button_is_said(self) -> None:
        status = self.gate.status(self.wall_s)
        if status.state is not GateState.LATCHED:
            assert (status.code == "HOLD_RELEASED") == (not self.held)


TestPerson = PersonMachine.TestCase
TestPerson.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
