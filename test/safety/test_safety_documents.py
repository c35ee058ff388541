"""What people are shown about the stop: the operator's page and the RViz markers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from safety_cell import ready_gate

from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import Pose, Target
from tmrl_ros.nodes.safety_markers import safety_markers
from tmrl_ros.safety.causes import ADVICE, Code, Refusal


def test_every_cause_has_advice_and_a_row_on_the_operators_page(root: Path):
    page = (root / "docs" / "safety.md").read_text()
    rows = set(re.findall(r"^\| `([A-Z_]+)` \|", page, flags=re.MULTILINE))
    assert rows == {*Code, *Refusal}
    assert set(ADVICE) == set(Code)
    assert all(advice.endswith((".", "?")) for advice in ADVICE.values())


def test_hardware_button_comes_before_the_software_stop(root: Path):
    page = (root / "docs" / "safety.md").read_text()
    assert page.index("hardware stop button") < page.index("software stop")


def test_markers_show_workspace_state_and_target():
    gate = ready_gate()
    gate.on_stop(0.0)
    target = Target(0, 1, True, Pose(np.array([0.4, 0.0, 0.2]), np.array([0, 0, 0, 1.0])), 0.08)
    box, cause, sign, point = safety_markers(load_config(), gate.status(0.0), target).markers
    assert box.scale.y == pytest.approx(0.8)
    assert sign.text == "LATCHED OPERATOR_STOP"
    assert "pressed stop" in cause.text and "(An operator)" in cause.text
    assert sign.scale.z > 2 * cause.scale.z
    assert point.pose.position.x == pytest.approx(0.4)
    assert all(marker.lifetime.sec == 1 for marker in (box, cause, sign, point))
