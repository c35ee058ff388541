"""OGBench's environments as tool, objects and targets."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.core.types import EpisodeOutcome, Phase
from tmrl_ros.learning.acting import ActingPolicy
from tmrl_ros.policies.bundle import load_bundle
from tmrl_ros.policies.context import WORKSPACE_CENTRE_M, WORKSPACE_SCALE_M
from tmrl_ros.policies.policy import ChunkPolicy

place = st.floats(-60, 60)


@given(x=place, y=place)
def test_a_mapping_can_be_undone(scenes, x, y):
    there = np.array([x, y, 0.0])
    assert scenes.MAZE.from_m(scenes.MAZE.to_m(there)) == pytest.approx(there, abs=1e-9)


def test_the_whole_giant_maze_lies_where_features_are_not_clipped(scenes):
    corners = scenes.MAZE.to_m(np.array([[0.0, 0.0, 0.0], [52.0, 36.0, 0.0]]))
    assert (np.abs(corners - WORKSPACE_CENTRE_M) / WORKSPACE_SCALE_M <= 5).all()


def test_a_point_moves_by_at_most_a_fifth_of_a_unit_per_step(scenes):
    here = np.array([0.5, 0.0, 0.1])
    small = np.array([0.0, -0.1 * scenes.MAZE.scale, 0.0])
    assert scenes.maze_action(here + small, here) == pytest.approx([0.0, -0.5])
    assert scenes.maze_action(here + 100 * small, here) == pytest.approx([0.0, -1.0])


def test_a_gripper_closes_when_less_opening_is_asked_for(scenes):
    state = np.array([0.4, 0.0, 0.1, 1.0])
    assert scenes.cube_action(np.array([0.4, 0.0, 0.1, 0.25]), state, 0.0)[4] == 0.75
    assert scenes.cube_action(state, np.append(state[:3], 0.25), 0.0)[4] == -0.75


@pytest.mark.parametrize("turned", [0.15, 0.15 + 2 * math.pi])
def test_a_tool_that_turned_is_turned_back_the_short_way(scenes, turned):
    state = np.array([0.4, 0.0, 0.1, 1.0])
    assert scenes.cube_action(state, state, turned)[3] == pytest.approx(-0.5)


class TestWithOgbench:
    """With the environments themselves, which `pip install .[benchmarks]` brings."""

    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("ogbench", reason="needs pip install .[benchmarks]")

    @pytest.mark.parametrize("name", ["pointmaze-giant", "cube-single"])
    def test_the_same_seed_is_the_same_start(self, scenes, name):
        scene = scenes.SCENES[name]()
        found = []
        for seed in (7, 8, 7):
            scene.reset(seed)
            found.append(np.append(scene.objects().ravel(), scene.state()))
        assert (found[0] == found[2]).all()
        assert (found[0] != found[1]).any()

    @pytest.mark.parametrize("name", ["pointmaze-giant", "cube-single"])
    def test_planners_demonstrate_where_they_should(self, ogbench_rig, name):
        demonstrate = ogbench_rig.demonstrator(name)
        tracks = [track for track in map(demonstrate, range(6)) if track is not None]
        assert len(tracks) >= 4
        for track in tracks:
            assert np.isfinite(np.array(track.targets)).all()
            assert len(track.targets) == len(track.states) == len(track.objects)
        if name == "cube-single":
            assert max(np.array(track.objects)[0, :, 0].max() for track in tracks) <= 0.4

    def test_a_policy_runs_an_episode_that_the_learner_can_learn_from(
        self, ogbench_rig, rig_module, tmp_path
    ):
        settings = ["method.warmup_episodes=0", "method.hidden=16", "method.updates_per_decision=1"]
        name = "cube-single"
        config = ogbench_rig.configuration(name, settings)
        ogbench_rig.pretrain(name, tmp_path / "bundle", 3, demonstrations=2)
        policy = ChunkPolicy(*load_bundle(tmp_path / "bundle"))
        rig = ogbench_rig.OgbenchRig(config, ogbench_rig.SCENES[name]())
        trial = rig_module.Trial(rig, policy)
        for _ in trial.train(1, 1, 0):
            pass
        decisions = config.task.max_decisions
        assert trial.core.replay.size == decisions or trial.outcomes == [True]
        assert trial.robot_seconds == pytest.approx(10.0) or trial.outcomes == [True]
        actor = ActingPolicy(policy, config.method)
        result = rig.run(actor, Phase.EVALUATE_AFTER, 0, method="base", deterministic=True)
        assert result.outcome in (EpisodeOutcome.SUCCESS, EpisodeOutcome.TIMEOUT)
