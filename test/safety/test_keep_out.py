"""The tool stays out of boxes: ways through them, corners that are cut, and how to get away."""

import numpy as np
import pytest
from pydantic import ValidationError
from safety_cell import BOX, PERIOD_NS, ROBOT, SAFETY, chunk, pose, ready_gate, sample

from tmrl_ros.core.config import KeepOutConfig
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import Target
from tmrl_ros.safety.gate import Gate
from tmrl_ros.safety.status import GateState

BESIDE = (0.50, 0.20, 0.20)  # 5 cm before the face of the box at x = 0.55


def gate_at(place) -> Gate:
    gate = Gate(SAFETY, ROBOT)
    gate.on_state(sample(1, place), 0.0)
    assert gate.on_reset(0.0)[0]
    return gate


def way(place, *moves):
    """A chunk from a place along moves (m), each counted from the one before."""
    actions = np.hstack([np.cumsum(np.array(moves, float), axis=0), np.ones((len(moves), 1))])
    return chunk(reference_pose=pose(place), actions=actions, execute_steps=len(moves))


def code_of(gate: Gate) -> str:
    return gate.status(0.0).code


@pytest.mark.parametrize(
    ("what", "moves"),
    [
        ("into the box", [(0.04, 0, 0), (0.04, 0, 0)]),
        ("nearer than the margin", [(0.035, 0, 0)]),
        ("through a corner of it between two rows", [(0.0, -0.09, 0), (0.12, 0.07, 0)]),
        ("along a face, straight through another", [(0, 0, 0.09), (0.1, 0, -0.09)]),
    ],
)
def test_a_way_into_a_box_latches_before_anything_moves(what, moves):
    gate = gate_at(BESIDE)
    effects = gate.on_chunk(way(BESIDE, *moves), 0.0)
    assert code_of(gate) == "KEEP_OUT", what
    assert "keep-out box lamp" in gate.status(0.0).message
    assert all(effect.hold for effect in effects if isinstance(effect, Target))


def test_a_way_past_a_box_is_free():
    gate = gate_at(BESIDE)
    gate.on_chunk(way(BESIDE, (0.02, 0, 0), (0, 0.05, 0), (0, 0.05, 0.05)), 0.0)
    assert gate.status(0.0).state is GateState.RUNNING


def test_a_corner_that_slow_targets_would_cut_latches_on_the_way():
    """Asked around the corner in one big step each, the arm is slowed and would cut through."""
    start = (0.52, 0.02, 0.20)
    gate = gate_at(start)
    gate.on_chunk(way(start, (0.0, 0.04, 0), (0.14, 0.0, 0), (0.03, 0.0, 0), (0, 0.1, 0)), 0.0)
    position, tick = np.array(start), 1
    while gate.status(0.0).state is GateState.RUNNING and tick < 40:
        tick += 1
        effects = gate.on_state(sample(tick, tuple(position)), 0.0)
        for effect in effects:
            if isinstance(effect, Target) and not effect.hold:
                position = effect.pose.position
                inside = (position > np.array(BOX.min_m)) & (position < np.array(BOX.max_m))
                assert not inside.all()
    assert code_of(gate) in ("", "KEEP_OUT")


def test_who_stands_in_the_margin_may_leave_but_not_go_in():
    place = (0.54, 0.20, 0.20)
    leaving = gate_at(place)
    leaving.on_chunk(way(place, (-0.02, 0, 0), (-0.02, 0, 0)), 0.0)
    assert leaving.status(0.0).state is GateState.RUNNING
    entering = gate_at(place)
    entering.on_chunk(way(place, (0.02, 0, 0)), 0.0)
    assert code_of(entering) == "KEEP_OUT"


def test_a_tool_inside_a_box_latches_and_no_reset_helps_until_it_is_out():
    gate = ready_gate()
    gate.on_state(sample(2, (0.60, 0.20, 0.20)), 0.0)
    assert code_of(gate) == "IN_KEEP_OUT"
    done, why = gate.on_reset(0.0)
    assert not done and "by hand" in why
    gate.on_state(sample(3, (0.60, 0.05, 0.20), stamp_ns=3 * PERIOD_NS), 0.0)
    assert gate.on_reset(0.0)[0]


def test_boxes_are_configured_by_name():
    box = "{name: foot, min_m: [0.6, 0.2, 0.0], max_m: [0.7, 0.3, 0.3]}"
    config = load_config([f"safety.keep_out=[{box}]"])
    assert config.safety.keep_out[0].name == "foot"
    with pytest.raises(ConfigurationError, match=r"home_position_m .*inside the keep-out box home"):
        load_config(["safety.keep_out=[{name: home, min_m: [0.4, -1, 0], max_m: [0.5, 1, 0.5]}]"])
    with pytest.raises(ValidationError, match="box flat: min_m z"):
        KeepOutConfig(name="flat", min_m=[0, 0, 1], max_m=[1, 1, 1])
