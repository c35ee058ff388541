import numpy as np
import pytest
import torch
from bars import DOWN, TINY, UP, bar_episodes, bar_video

from tmrl_ros.core.errors import BundleError
from tmrl_ros.policies.prompt import embed_prompt
from tmrl_ros.rewards.learned.baselines import model, time_index
from tmrl_ros.rewards.learned.bundle import (
    CalibrationRecord,
    RewardSpec,
    TrainingRecord,
    network_spec,
    save_bundle,
)
from tmrl_ros.rewards.learned.evaluation import evaluate
from tmrl_ros.rewards.learned.judge import judge_frames, load_reward_bundle
from tmrl_ros.rewards.learned.model import RewardNetwork, expected_progress, two_hot
from tmrl_ros.rewards.learned.training import TrainingSettings, progress_loss, success_loss, train
from tmrl_ros.rewards.model import Calibration, JudgementError

SETTINGS = TrainingSettings(
    steps=400, videos_per_step=12, clips_per_step=48, pairs_per_step=20, learning_rate=2e-3
)


@pytest.fixture(scope="module")
def network() -> RewardNetwork:
    return train(bar_episodes(24, seed=0), TINY, SETTINGS)


@pytest.fixture
def bundle(network, tmp_path):
    spec = RewardSpec(
        task="bars",
        cameras=["front"],
        prompts=[list(UP), list(DOWN)],
        network=network_spec(TINY),
        calibration=CalibrationRecord(
            threshold=0.6, k=2, n=3, episodes=10, successes=5, found=5, false_positives=0
        ),
        training=TrainingRecord(
            command="tmrl reward train",
            source="bars",
            videos=24,
            episodes=48,
            videos_by_kind={"bar": 24},
            calibration_videos=0,
            steps=SETTINGS.steps,
            seed=0,
            data_sha256="0" * 64,
            losses={"progress": 1.0, "success": 0.1, "preference": 0.1},
            wall_s=1.0,
        ),
    )
    save_bundle(tmp_path, spec, network)
    return tmp_path


def test_it_learns_a_task_and_its_opposite_from_pixels(network):
    held_out = bar_episodes(40, seed=1)
    figures, _, _ = evaluate(model(network), held_out, None, calibration=bar_episodes(40, seed=2))
    nothing, _, _ = evaluate(time_index(6), held_out, None, calibration=bar_episodes(40, seed=2))

    assert figures["success_auprc"] > 0.9
    assert figures["with_rule"]["found"] > 0.8 * figures["with_rule"]["successes"]
    assert figures["kendall_tau_a"] > nothing["kendall_tau_a"] + 0.3
    assert figures["wrong_instruction"]["margin"] > 0.4


def test_the_better_clip_is_preferred(network):
    up, half = (bar_video("x", np.linspace(0.3, end, 4).tolist()) for end in (1.0, 0.5))
    features = []
    for video in (up, half):
        frames = torch.from_numpy(video.frames).movedim(-1, 2) / 255.0
        features.append(network.encode(frames)[None])
    prompt = torch.from_numpy(embed_prompt(UP[0], TINY.prompt_size))[None]
    whole = torch.zeros(1, 4, dtype=torch.bool)
    better_first = network.prefer(features[0], features[1], (whole, whole), prompt)
    better_last = network.prefer(features[1], features[0], (whole, whole), prompt)

    assert better_first.item() > 0 > better_last.item()


def test_equal_seeds_give_equal_weights():
    episodes = bar_episodes(8, seed=0)
    short = TrainingSettings(steps=3, videos_per_step=4, clips_per_step=8, pairs_per_step=5)
    one, two = (train(episodes, TINY, short).state_dict() for _ in range(2))

    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_frame_is_judged_without_those_after_it(network):
    video = bar_video("x", np.linspace(0.2, 1.0, 4).tolist())
    whole = judge_frames(network, video.frames, UP)[0]
    part = judge_frames(network, video.frames[:3], UP)[0]

    np.testing.assert_allclose(whole[0][:3], part[0], atol=1e-5)
    np.testing.assert_allclose(whole[1][:3], part[1], atol=1e-5)


def test_live_judgements_are_those_of_the_whole_video(bundle, network):
    # Longer than a clip, so that frames are dropped on the way.
    video = bar_video("x", np.linspace(0.0, 1.0, 9).tolist())
    reward = load_reward_bundle(bundle)
    reward.begin_episode("Raise  the BAR")
    live = [reward.observe(list(frame)) for frame in video.frames]
    progress, probability = judge_frames(network, video.frames, UP)[0]

    np.testing.assert_allclose([item.progress for item in live], progress, atol=1e-5)
    np.testing.assert_allclose([item.success_probability for item in live], probability, atol=1e-5)


def test_a_new_episode_remembers_nothing(bundle):
    reward = load_reward_bundle(bundle)
    frame = list(bar_video("x", [0.9]).frames[0])
    reward.begin_episode(UP[0])
    first = reward.observe(frame)
    reward.observe(list(bar_video("x", [0.1]).frames[0]))
    reward.begin_episode(UP[0])

    assert reward.observe(frame).progress == first.progress


def test_larger_pictures_are_shrunk_to_what_the_network_takes(bundle):
    reward = load_reward_bundle(bundle)
    frame = bar_video("x", [0.9]).frames[0, 0]
    reward.begin_episode(UP[0])
    small = reward.observe([frame])
    reward.begin_episode(UP[0])

    assert reward.observe([frame.repeat(2, 0).repeat(2, 1)]).progress == small.progress


def test_a_prompt_that_it_was_not_trained_on_is_refused(bundle):
    reward = load_reward_bundle(bundle)
    reward.begin_episode("tilt the bar")

    assert not reward.knows("tilt the bar")
    with pytest.raises(JudgementError, match="not trained on the prompt 'tilt the bar'"):
        reward.observe(list(bar_video("x", [0.5]).frames[0]))


@pytest.mark.parametrize(
    ("images", "what"),
    [
        ([], "0 images"),
        ([np.zeros((16, 16), np.uint8)], "not RGB"),
        ([np.zeros((16, 16, 3))], "float64"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(bundle, images, what):
    reward = load_reward_bundle(bundle)
    reward.begin_episode(UP[0])

    with pytest.raises(JudgementError, match=what):
        reward.observe(images)


def test_a_bundle_brings_its_rule_its_cameras_and_its_hash(bundle):
    reward = load_reward_bundle(bundle)

    assert reward.calibration == Calibration(0.6, 2, 3)
    assert tuple(reward.cameras) == ("front",)
    assert reward.hash == load_reward_bundle(bundle).hash


def test_damaged_weights_are_named(bundle):
    path = bundle / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")

    with pytest.raises(BundleError, match="model.safetensors is damaged"):
        load_reward_bundle(bundle)


def test_a_description_of_another_network_is_named(bundle):
    path = bundle / "reward.json"
    path.write_text(path.read_text().replace('"width": 32', '"width": 64'))

    with pytest.raises(BundleError, match="does not hold the network"):
        load_reward_bundle(bundle)


def test_a_missing_bundle_is_named(tmp_path):
    with pytest.raises(BundleError, match="no reward bundle at"):
        load_reward_bundle(tmp_path / "nothing")


def test_two_hot_targets_keep_the_progress_they_stand_for():
    progress = torch.linspace(0, 1, 37)
    target = two_hot(progress)

    assert ((target > 0).sum(-1) <= 2).all()
    torch.testing.assert_close(
        expected_progress(target.clamp(min=1e-9).log()), progress, atol=1e-4, rtol=0
    )


def test_successes_weigh_as_much_as_all_failures():
    logits = torch.zeros(1, 10, requires_grad=True)
    success = (torch.arange(10) == 9).float()[None]
    used = torch.ones(1, 10, dtype=torch.bool)
    success_loss(logits, success, used, torch.linspace(0, 1, 10)[None]).backward()
    gradient = logits.grad[0]

    assert gradient[9].item() == pytest.approx(-gradient[:9].sum().item())
    # The near half of the failures weighs as much as the far one.
    assert gradient[5:9].sum().item() == pytest.approx(gradient[:5].sum().item())


def test_frames_of_unknown_progress_teach_no_progress():
    bins = torch.zeros(1, 3, 10, requires_grad=True)
    target = torch.tensor([[0.5, float("nan"), 0.5]])
    progress_loss(bins, target, torch.tensor([[True, True, False]])).backward()

    assert bins.grad[0, 0].abs().sum() > 0
    assert bins.grad[0, 1:].abs().sum() == 0
