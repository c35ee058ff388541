"""The way home must pass the supervisor's rules as it is: nothing refused, nothing slowed down."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from story import HOME, make_homing, sample

from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import ChunkResult, Outcome, Target
from tmrl_ros.safety.gate import Gate
from tmrl_ros.session.homing import TOLERANCE_M
from tmrl_ros.sim.kinematics import Q_NOMINAL, ArmKinematics

PERIOD_NS = 50_000_000
CONFIG = load_config(["task=lift"])
ARM = ArmKinematics()


class Arm:
    """Follows targets with a lag, behind a real gate."""

    def __init__(self, position, opening, lag):
        self.position, self.opening, self.lag = np.array(position), opening, lag
        self.tick = 10
        self.gate = Gate(CONFIG.safety, CONFIG.robot)
        self.gate.on_target_publishers(1, 0.0)
        self.gate.on_state(self.sample(), 0.0)
        assert self.gate.on_reset(0.0)[0]

    def sample(self):
        base = sample(self.tick * PERIOD_NS, self.position, self.opening)
        at = base.ee_pose
        q = ARM.inverse(at.position, at.quaternion, start=Q_NOMINAL, iterations=40)
        return replace(base, tick=self.tick, frame_id="panda_link0", q=q)

    def follow(self, chunk):
        effects = list(self.gate.on_chunk(chunk, 0.0))
        while effects:
            outcome = next((e for e in effects if isinstance(e, Outcome)), None)
            if outcome is not None:
                return outcome
            (target,) = (e for e in effects if isinstance(e, Target))
            self.position = self.position + (target.pose.position - self.position) * self.lag
            self.opening = target.gripper_width_m / 0.08
            self.tick += 1
            effects = self.gate.on_state(self.sample(), 0.0)
        raise AssertionError("the gate sent nothing")


starts = st.tuples(st.floats(0.32, 0.6), st.floats(-0.25, 0.25), st.floats(0.01, 0.4))


@given(starts, st.floats(0.0, 1.0), st.floats(0.4, 1.0))
@settings(max_examples=60, deadline=None)
def test_gate_lets_every_way_home_pass(position, opening, lag):
    arm, plan = Arm(position, opening, lag), make_homing()
    for number in range(8):
        chunk = plan.next_chunk(arm.sample(), "train_000000", number)
        if chunk is None:
            assert np.linalg.norm(arm.position - HOME) <= TOLERANCE_M
            return
        outcome = arm.follow(chunk)
        assert outcome.result == ChunkResult.EXECUTED, outcome.reason
        assert outcome.steps_clipped == 0
    pytest.fail("never got home")
