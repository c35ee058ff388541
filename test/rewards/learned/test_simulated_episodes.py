import numpy as np
import pytest

from tmrl_ros.core.load import load_config
from tmrl_ros.rewards.learned.instructions import instructions
from tmrl_ros.rewards.learned.simulate import MIX, EpisodeSimulator


@pytest.fixture(scope="module")
def simulator():
    config = load_config(["task=pick_named"])
    small = [
        camera.model_copy(update={"width": 80, "height": 48}) for camera in config.cameras.cameras
    ]
    cameras = config.cameras.model_copy(
        update={"cameras": small, "image_width": 32, "image_height": 32}
    )
    made = EpisodeSimulator(config.model_copy(update={"cameras": cameras}))
    yield made
    made.close()


def judged(simulator, kind: str, seeds: range):
    for seed in seeds:
        yield simulator.episode(kind, np.random.default_rng(seed), f"{kind}-{seed}")


def test_every_kind_gives_a_whole_video_and_one_episode_per_instruction(simulator):
    for kind in MIX:
        group = next(judged(simulator, kind, range(1)))
        assert group[0].video.frames.shape == (13, 2, 32, 32, 3)
        assert len(group) == 3 and len({episode.prompts for episode in group}) == 3


def test_one_seed_is_one_episode(simulator):
    one, two = (next(judged(simulator, "policy", range(5, 6))) for _ in range(2))

    np.testing.assert_array_equal(one[0].video.frames, two[0].video.frames)
    np.testing.assert_array_equal(one[0].progress, two[0].progress)


def test_an_object_held_too_low_is_grasped_unless_late_and_never_a_success(simulator):
    best = [
        max(group, key=lambda episode: float(episode.progress.max()))
        for group in judged(simulator, "held_low", range(6))
    ]
    assert all(episode.progress.max() < 0.95 and not episode.succeeds for episode in best)
    assert sum(episode.progress[-1] > 0.5 for episode in best) >= 4


def test_success_comes_early_and_late_so_that_time_does_not_tell(simulator):
    first = [
        int(np.argmax(episode.success))
        for group in judged(simulator, "success", range(8))
        for episode in group
        if episode.succeeds
    ]
    assert len(first) >= 6
    assert min(first) <= 6 and max(first) >= 9


def test_a_success_is_one_for_a_single_instruction_and_lasts(simulator):
    for group in judged(simulator, "success", range(6)):
        done = [episode for episode in group if episode.succeeds]
        assert len(done) == 1
        assert done[0].success[int(np.argmax(done[0].success)) :].all()


def test_what_was_dropped_is_no_success_at_the_end(simulator):
    groups = list(judged(simulator, "drop", range(6)))

    assert all(not episode.success[-1] for group in groups for episode in group)
    assert any(episode.progress.max() > 0.5 for group in groups for episode in group)


def test_a_miss_lifts_an_empty_gripper(simulator):
    for group in judged(simulator, "miss", range(6)):
        assert max(float(episode.progress.max()) for episode in group) < 0.5


def test_the_tasks_own_prompt_means_the_wanted_object():
    texts = instructions(load_config(["task=pick_named"]))

    assert "lift the denim cube" in texts["blue"]
    assert all("lift the denim cube" not in texts[name] for name in ("red", "green"))


def test_a_task_with_one_object_still_has_other_instructions():
    texts = instructions(load_config(["task=lift"]))

    assert texts["red"] == ("lift the red cube",)
    assert set(texts) == {"red", "green", "blue"}


def test_an_object_that_is_not_in_the_scene_is_never_brought_nearer(simulator):
    config = load_config(["task=lift", "robot.renderer=ray"])
    small = [c.model_copy(update={"width": 40, "height": 24}) for c in config.cameras.cameras]
    lift = EpisodeSimulator(
        config.model_copy(update={"cameras": config.cameras.model_copy(update={"cameras": small})})
    )
    group = lift.episode("success", np.random.default_rng(0), "lift")
    lift.close()
    by_prompt = {episode.prompts[0]: episode for episode in group}

    assert by_prompt["lift the red cube"].succeeds
    assert by_prompt["lift the blue cube"].progress.max() == 0.0
