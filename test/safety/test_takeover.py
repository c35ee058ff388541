"""A person takes the arm in the middle of a chunk, steers, and gives it back."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from safety_cell import (
    BOX,
    HOME,
    MAX_TARGET_STEP_M,
    PERIOD_S,
    ROBOT,
    SAFETY,
    assert_latched,
    chunk,
    outcomes,
    pose,
    ready_gate,
    rows,
    sample,
    tracks,
)

from tmrl_ros.core.types import ChunkResult, ChunkSource, TeleopCommand
from tmrl_ros.safety.gate import Gate
from tmrl_ros.safety.status import GateState

POLICY, HUMAN = int(ChunkSource.POLICY), int(ChunkSource.HUMAN)
SUDDEN = SAFETY.model_copy(update={"teleop_blend_s": 0.0})
SIDEWAYS = (0.0, 0.1, 0.0)
STEP_M = 0.1 * PERIOD_S


def command(linear=SIDEWAYS, **changes) -> TeleopCommand:
    """A person at a joystick who steers."""
    sound = TeleopCommand("joystick", True, np.array(linear, float), math.nan, ROBOT.base_frame)
    return replace(sound, **changes)


RELEASE = command((0, 0, 0), engaged=False)


class Drive:
    """A gate with an arm that follows, and a clock."""

    def __init__(self, safety=SUDDEN, position=HOME, steps=8, dx=0.01, **changes):
        self.gate: Gate = ready_gate(safety, position=position)
        self.wall_s, self.tick, self.number = 0.0, 1, 0
        self.place = np.array(position, float)
        self.effects: list = []
        self.steps, self.dx, self.changes = steps, dx, changes

    def ask(self, **changes):
        self.number += 1
        asked = chunk(
            self.number,
            self.tick,
            **{
                "actions": rows(self.steps, dx=self.dx),
                "execute_steps": self.steps,
                "reference_pose": pose(tuple(self.place)),
                **self.changes,
                **changes,
            },
        )
        return self.take(self.gate.on_chunk(asked, self.wall_s))

    def take(self, effects):
        self.effects = effects
        for target in tracks(effects):
            self.place = target.pose.position
        return effects

    def step(self, said: TeleopCommand | None = None):
        """One control period; what was commanded is where the arm is then."""
        self.wall_s += PERIOD_S
        if said is not None:
            self.take(self.gate.on_teleop(said, self.wall_s))
        self.tick += 1
        return self.take(self.gate.on_state(sample(self.tick, tuple(self.place)), self.wall_s))

    def finish(self, said: TeleopCommand | None = None):
        for _ in range(self.steps + 1):
            found = outcomes(self.step(said))
            if found:
                return found[0]
        raise AssertionError("the chunk does not end")


def test_the_person_s_rows_replace_the_policy_s_and_say_so():
    drive = Drive()
    drive.ask()
    drive.step()
    before = drive.place.copy()
    done = drive.finish(command())
    assert done.result is ChunkResult.EXECUTED
    assert done.sources.tolist() == [POLICY] * 2 + [HUMAN] * 6
    assert done.human_steps == 6
    assert done.source is ChunkSource.POLICY, "the chunk is the policy's still"
    np.testing.assert_allclose(drive.place - before, [0.0, 6 * STEP_M, 0.0], atol=1e-9)
    np.testing.assert_allclose(done.executed[-1, :3], drive.place - HOME, atol=1e-9)


def test_without_a_person_every_row_is_the_chunk_s():
    drive = Drive()
    drive.ask()
    done = drive.finish()
    assert done.sources.tolist() == [POLICY] * 8
    drive.ask(source=ChunkSource.RESET)
    assert set(drive.finish().sources.tolist()) == {int(ChunkSource.RESET)}


def test_the_share_grows_and_fades_without_a_jerk():
    drive = Drive(SAFETY, steps=20, dx=0.005)
    drive.ask()
    before, moves = drive.place.copy(), []
    blend = round(SAFETY.teleop_blend_s / PERIOD_S)
    for period in range(19):
        drive.step(command((-0.1, 0.1, 0)) if period < 10 else RELEASE)
        moves.append(drive.place - before)
        before = drive.place.copy()
    moves = np.array(moves)
    largest = 2 * STEP_M / blend + 1e-9  # from one way along x to the other in `blend` rows
    assert np.abs(np.diff(moves, axis=0)).max() <= largest, "no row jumps"
    np.testing.assert_allclose(moves[blend:10], [[-STEP_M, STEP_M, 0.0]] * (10 - blend), atol=1e-9)
    np.testing.assert_allclose(moves[10 + blend :], [[0.005, 0, 0]] * (9 - blend), atol=1e-9)
    done = drive.finish(RELEASE)
    assert done.sources.tolist() == [POLICY] + [HUMAN] * (10 + blend - 1) + [POLICY] * (10 - blend)


def test_given_back_the_arm_is_not_pulled_back_to_the_old_chunk_and_the_next_one_counts_anew():
    drive = Drive(dx=0.0)
    drive.ask()
    for _ in range(4):
        drive.step(command())
    there = drive.place.copy()
    drive.finish(RELEASE)
    np.testing.assert_allclose(drive.place, there, atol=1e-9)
    drive.ask(actions=rows(8, dx=0.01))
    done = drive.finish()
    np.testing.assert_allclose(drive.place - there, [0.08, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(done.executed, rows(8, dx=0.01), atol=1e-9)


@pytest.mark.parametrize("way", ["says so", "falls silent"])
def test_a_person_who_lets_go_drives_no_further(way):
    drive = Drive(dx=0.0, steps=16)
    drive.ask()
    for _ in range(3):
        drive.step(command())
    there = drive.place.copy()
    if way == "says so":
        drive.step(RELEASE)
        np.testing.assert_allclose(drive.place, there, atol=1e-9)
    else:
        drive.wall_s += SUDDEN.teleop_timeout_s
        drive.step()
        np.testing.assert_allclose(drive.place, there, atol=1e-9)
    assert drive.finish().sources.tolist()[-1] == POLICY


def test_the_gripper_does_what_the_person_says_and_else_stays_as_it_was():
    drive = Drive(actions=rows(8, opening=1.0))
    drive.ask()
    drive.step(command(gripper=0.0))
    drive.step(command())
    drive.step(RELEASE)
    done = drive.finish()
    assert done.executed[:, 3].tolist() == [1.0] + [0.0] * 7, "until the policy has seen it"
    drive.ask()
    assert drive.finish().executed[0, 3] == 1.0


def test_too_fast_a_person_is_slowed_down_and_counted():
    drive = Drive()
    drive.ask()
    before = drive.place.copy()
    drive.step(command((0.0, 2.0, 0.0)))
    assert np.linalg.norm(drive.place - before) == pytest.approx(MAX_TARGET_STEP_M)
    assert drive.gate.status(0.0).targets_clipped == 1


def test_a_person_cannot_leave_the_workspace():
    edge = (0.45, 0.39, 0.2)
    drive = Drive(position=edge, dx=0.0)
    drive.ask()
    drive.finish(command((0, 0.3, 0)))
    assert drive.place[1] == pytest.approx(SAFETY.workspace_max_m[1])
    assert drive.gate.status(0.0).state is GateState.READY


def test_a_person_cannot_steer_into_a_keep_out_box_and_nothing_latches():
    beside = (0.50, 0.20, 0.20)
    drive = Drive(position=beside, dx=0.0)
    for _ in range(3):
        drive.ask()
        drive.finish(command((0.2, 0, 0)))
    assert drive.place[0] <= BOX.min_m[0] - SAFETY.keep_out_margin_m + 1e-9
    assert drive.place[0] > beside[0]
    assert drive.gate.status(0.0).state is GateState.READY
    drive.ask()
    drive.finish(command((-0.2, 0, 0)))
    assert drive.place[0] < beside[0] + 0.01, "away from it they can"


def test_a_blocked_arm_is_not_pressed_harder_and_harder():
    drive = Drive(dx=0.0, steps=64, actions=rows(64), execute_steps=64)
    drive.ask()
    for _ in range(30):
        drive.wall_s += PERIOD_S
        drive.gate.on_teleop(command((0, 0.5, 0)), drive.wall_s)
        drive.tick += 1
        drive.take(drive.gate.on_state(sample(drive.tick, HOME), drive.wall_s))
    assert np.linalg.norm(drive.place - HOME) <= SAFETY.max_start_offset_m + 1e-9


SPOILED = {
    "nan": {"actions": np.full((8, 4), np.nan)},
    "jump": {"actions": rows(8, dx=0.3)},
    "outside": {"actions": rows(8) + [0, 0, -0.5, 0]},
    "gripper": {"actions": rows(8, opening=3.0)},
    "elsewhere": {"reference_pose": pose((0.45, 0.15, 0.2))},
    "reference": {"reference_pose": pose((math.nan, 0, 0))},
    "turned": {"orientation": np.array([np.cos(0.6), np.sin(0.6), 0.0, 0.0])},
    "no rotation": {"orientation": np.zeros(4)},
}


@pytest.mark.parametrize("name", SPOILED)
def test_what_the_policy_asks_does_not_matter_while_a_person_drives(name):
    drive = Drive()
    drive.gate.on_teleop(command(), drive.wall_s)
    before = drive.place.copy()
    drive.ask(**SPOILED[name])
    drive.step(command())
    done = drive.finish(command())
    assert (done.result, set(done.sources.tolist())) == (ChunkResult.EXECUTED, {HUMAN})
    np.testing.assert_allclose(drive.place - before, [0.0, 8 * STEP_M, 0.0], atol=1e-9)
    assert np.isfinite(done.executed).all()
    assert np.ptp(done.executed[:, 3]) == 0.0, "the gripper stays as it is"


@pytest.mark.parametrize("name", SPOILED)
def test_a_bad_chunk_is_never_followed_after_the_person_lets_go(name):
    drive = Drive()
    drive.gate.on_teleop(command(), drive.wall_s)
    drive.ask(**SPOILED[name])
    drive.step(command())
    there = drive.place.copy()
    done = drive.finish(RELEASE)
    assert done.result is ChunkResult.EXECUTED
    np.testing.assert_allclose(drive.place, there, atol=1e-9)
    drive.ask(**SPOILED[name])
    assert drive.gate.status(0.0).state is GateState.LATCHED, "without a person it latches"


@pytest.mark.parametrize("name", ["seven columns", "frame"])
def test_a_chunk_of_another_robot_latches_whoever_drives(name):
    wrong = {"seven columns": {"actions": np.zeros((8, 7))}, "frame": {"frame_id": "world"}}[name]
    drive = Drive()
    drive.gate.on_teleop(command(), drive.wall_s)
    drive.ask(**wrong)
    assert drive.gate.status(0.0).state is GateState.LATCHED


NONSENSE = {
    "nan": command((math.nan, 0, 0)),
    "infinite": command((0, math.inf, 0)),
    "nobody steers so fast": command((0, 0, 50.0)),
    "gripper": command(gripper=7.0),
    "infinite gripper": command(gripper=math.inf),
    "another frame": command(frame_id="world"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_from_the_stick_latches(name):
    drive = Drive()
    drive.ask()
    effects = drive.gate.on_teleop(NONSENSE[name], 0.0)
    assert_latched(drive.gate, effects, "TELEOP_COMMAND", result=ChunkResult.ABORTED)
    assert drive.gate.status(0.0).value
    assert drive.gate.on_reset(0.0)[0]


def test_nonsense_from_a_stick_that_nobody_holds_is_not_heard():
    drive = Drive()
    drive.ask()
    assert drive.gate.on_teleop(command((math.nan, 0, 0), engaged=False), 0.0) == []
    assert drive.gate.status(0.0).state is GateState.RUNNING


def test_whoever_has_the_arm_keeps_it_from_a_second_stick():
    drive = Drive(dx=0.0)
    drive.ask()
    drive.step(command())
    before = drive.place.copy()
    drive.gate.on_teleop(command((0, -0.3, 0), device="keyboard"), drive.wall_s)
    drive.gate.on_teleop(replace(RELEASE, device="keyboard"), drive.wall_s)
    drive.step()
    np.testing.assert_allclose(drive.place - before, [0, STEP_M, 0], atol=1e-9)


def test_the_stop_takes_the_arm_from_a_person_too():
    drive = Drive()
    drive.ask()
    drive.step(command())
    effects = drive.gate.on_stop(drive.wall_s)
    assert_latched(drive.gate, effects, "OPERATOR_STOP", result=ChunkResult.ABORTED)
    assert outcomes(effects)[0].sources.tolist() == [POLICY, HUMAN]
    assert drive.step(command()) == [], "nothing moves before a reset"
    assert drive.gate.on_reset(drive.wall_s)[0]


def test_too_much_force_stops_a_person_too():
    drive = Drive()
    drive.ask()
    drive.step(command())
    hard = sample(drive.tick + 1, wrench=np.array([0, 0, 80.0, 0, 0, 0]))
    drive.gate.on_teleop(command(), drive.wall_s)
    effects = drive.gate.on_state(hard, drive.wall_s)
    assert_latched(drive.gate, effects, "FORCE", result=ChunkResult.ABORTED)
