"""Rules for what a policy asks: pure functions that judge a whole chunk before its first target."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tmrl_ros.core.types import Chunk
from tmrl_ros.safety.causes import Cause, Code, cause
from tmrl_ros.safety.geometry import (
    Quat,
    Vec3,
    all_plausible,
    angle_between,
    pull_into_box,
    unit_quaternion,
    vec3,
)
from tmrl_ros.safety.keep_out import way_cause
from tmrl_ros.safety.limits import GRIPPER_EXCESS, Limits
from tmrl_ros.safety.state_rules import Measured

ACTION_SPACE = "cartesian_relative"
ACTION_DIM = 4
RATE_TOLERANCE = 1e-3
MAX_ROWS = 1000
"""A longer chunk is a mistake: at 20 Hz the arm would follow it for most of a minute."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A chunk that may be executed, in absolute terms: what is asked, not yet clipped.

    `positions` (m, base frame) and `openings` (0..1) have `execute_steps` entries; `quaternion` is
    the unit orientation of all of them, `reference` the position the rows refer to. `joins` is
    where the chunk before ends, if this one goes on from it.
    """

    reference: Vec3
    quaternion: Quat
    positions: tuple[Vec3, ...]
    openings: tuple[float, ...]
    joins: Vec3 | None = None


def plan_chunk(chunk: Chunk, limits: Limits) -> Plan | Cause:
    """Check everything about a chunk that does not depend on where the arm is now."""
    wrong = next(_form_causes(chunk, limits), None)
    if wrong is not None:
        return wrong
    quaternion = unit_quaternion(chunk.orientation)
    if quaternion is None or unit_quaternion(chunk.reference_pose.quaternion) is None:
        bad = chunk.orientation if quaternion is None else chunk.reference_pose.quaternion
        return cause(
            Code.BAD_ORIENTATION,
            f"Chunk {chunk.sequence} holds an orientation that is not a unit quaternion.",
            str(bad.tolist()),
        )
    x, y, z = reference = vec3(chunk.reference_pose.position)
    first = chunk.committed_steps
    rows = chunk.actions[max(0, first - 1) : first + chunk.execute_steps].tolist()
    positions = tuple((x + dx, y + dy, z + dz) for dx, dy, dz, _ in rows)
    openings = tuple(opening for *_, opening in rows)
    plan = Plan(reference, quaternion, positions, openings)
    if first:
        joins, *fresh = positions
        plan = Plan(reference, quaternion, tuple(fresh), openings[1:], joins)
    return next(_motion_causes(plan, chunk, limits), None) or plan


def void_plan(chunk: Chunk, measured: Measured) -> Plan:
    """A plan in the place of one that may not be executed, for a person's rows to replace."""
    position = chunk.reference_pose.position
    reference = vec3(position) if all_plausible(position) else measured.position
    steps = chunk.execute_steps
    return Plan(reference, measured.quaternion, (measured.position,) * steps, (0.0,) * steps)


def start_cause(
    plan: Plan, measured: Measured, asked_before: Quat | None, limits: Limits
) -> Cause | None:
    """What is wrong with beginning a plan from where the arm is now.

    Args:
        plan: What is asked.
        measured: Where the arm is.
        asked_before: Orientation of the plan before, None for the first since a reset.
        limits: What may be asked.
    """
    offset = math.dist(plan.positions[0], measured.position)
    if not offset <= limits.max_start_offset_m:
        return cause(
            Code.START_OFFSET,
            f"The first target is {offset * 100:.1f} cm from the tool, more than "
            f"{limits.max_start_offset_m * 100:.1f} cm.",
            f"{offset:.3f} m",
        )
    forbidden = way_cause(measured.position, plan.positions[0], "The first target", limits)
    if forbidden is not None:
        return forbidden
    turn = angle_between(plan.quaternion, asked_before) if asked_before is not None else 0.0
    if not turn <= limits.max_asked_turn_rad:
        return cause(
            Code.ROTATION_STEP,
            f"The orientation asked for jumps by {turn:.2f} rad, more than "
            f"{limits.max_asked_turn_rad:.2f} rad.",
            f"{turn:.3f} rad",
        )
    turned = angle_between(plan.quaternion, measured.quaternion)
    if not turned <= limits.max_start_turn_rad:
        return cause(
            Code.START_ROTATION,
            f"The tool is turned away by {turned:.2f} rad, more than "
            f"{limits.max_start_turn_rad:.2f} rad.",
            f"{turned:.3f} rad",
        )
    return None


def age_cause(chunk: Chunk, stamp_ns: int, limits: Limits) -> Cause | None:
    """What is wrong with a chunk's stamp when the robot's clock shows `stamp_ns`."""
    age_s = (stamp_ns - chunk.stamp_ns) / 1e9
    if age_s > limits.max_chunk_age_s:
        return cause(
            Code.STALE_CHUNK,
            f"Chunk {chunk.sequence} answers what was seen {age_s:.2f} s ago, more than "
            f"{limits.max_chunk_age_s:.2f} s.",
            f"{age_s:.3f} s",
        )
    if age_s < -limits.max_chunk_age_s:
        return cause(
            Code.CHUNK_AHEAD,
            f"Chunk {chunk.sequence} is stamped {-age_s:.2f} s ahead of the robot's clock.",
            f"{age_s:.3f} s",
        )
    return None


def _form_causes(chunk: Chunk, limits: Limits) -> Iterator[Cause]:
    name, shape = f"Chunk {chunk.sequence}", chunk.actions.shape
    first, steps = chunk.committed_steps, chunk.execute_steps
    fits = len(shape) == 2 and shape[1] == ACTION_DIM and first >= 0 < steps <= shape[0] - first
    if not fits:
        what = f"{name} has actions of shape {shape} and executes {steps} of them from row {first};"
        yield cause(Code.WRONG_SIZE, f"{what} rows of {ACTION_DIM} are needed.", f"shape {shape}")
    elif shape[0] > MAX_ROWS:
        what = f"{name} has {shape[0]} rows; no more than {MAX_ROWS} are believed."
        yield cause(Code.WRONG_SIZE, what, f"{shape[0]} rows")
    if chunk.action_space != ACTION_SPACE:
        what = f"{name} is in action space {chunk.action_space!r}, not {ACTION_SPACE!r}."
        yield cause(Code.WRONG_ACTION_SPACE, what, repr(chunk.action_space))
    if chunk.frame_id != limits.base_frame:
        what = f"{name} is in frame {chunk.frame_id!r}, not {limits.base_frame!r}."
        yield cause(Code.WRONG_FRAME, what, repr(chunk.frame_id))
    rate_hz = chunk.control_rate_hz
    if not abs(rate_hz - limits.control_rate_hz) <= RATE_TOLERANCE * limits.control_rate_hz:
        what = f"{name} is made for {rate_hz} Hz, the robot runs at {limits.control_rate_hz} Hz."
        yield cause(Code.WRONG_RATE, what, f"{rate_hz} Hz")
    if not np.isfinite(chunk.actions).all():
        row = int(np.argwhere(~np.isfinite(chunk.actions))[0][0])
        what = f"{name} asks for something that is not a number in row {row}."
        yield cause(Code.NON_FINITE_ACTION, what, str(chunk.actions[row].tolist()))
    if not all_plausible(chunk.reference_pose.position):
        what = f"{name} refers to a pose that is not a number."
        yield cause(Code.NON_FINITE_ACTION, what, str(chunk.reference_pose.position.tolist()))


def _motion_causes(plan: Plan, chunk: Chunk, limits: Limits) -> Iterator[Cause]:
    before = plan.joins or plan.positions[0]
    rows = zip(plan.positions, plan.openings, strict=True)
    for row, (position, opening) in enumerate(rows, chunk.committed_steps):
        where = f"Row {row} of chunk {chunk.sequence}"
        excess = math.dist(position, pull_into_box(position, limits.low_m, limits.high_m))
        if not excess <= limits.max_excess_m:
            what = f"{where} is {excess * 100:.1f} cm outside the workspace."
            yield cause(Code.WORKSPACE, what, _meters(position))
        step = math.dist(position, before)
        if not step <= limits.max_asked_step_m:
            what = f"{where} jumps by {step * 100:.1f} cm from the row before."
            yield cause(Code.STEP, what, f"{step:.3f} m")
        forbidden = way_cause(before, position, where, limits)
        if forbidden is not None:
            yield forbidden
        if not -GRIPPER_EXCESS <= opening <= 1.0 + GRIPPER_EXCESS:
            what = f"{where} asks for a gripper opening of {opening:.3g}."
            yield cause(Code.GRIPPER, what, f"{opening:.3g}")
        before = position


def _meters(position: Vec3) -> str:
    return "x {:.3g} y {:.3g} z {:.3g} m".format(*position)
