"""Bags as a source of labelled episodes, and judged again without being changed."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recorded import episode, event, item

from tmrl_ros.core.types import EpisodeOutcome, EpisodeState, Reward
from tmrl_ros.data.assembler import assemble
from tmrl_ros.data.bag_reader import read_episode
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.data.recording import Recording
from tmrl_ros.data.recount import as_it_counts, outcome_by
from tmrl_ros.data.reward_sidecar import (
    choose,
    chosen,
    read_sidecar,
    sidecar_file,
)
from tmrl_ros.rewards.learned.bundle import (
    CalibrationRecord,
    RewardSpec,
    TrainingRecord,
    network_spec,
)
from tmrl_ros.rewards.learned.judge import LearnedReward
from tmrl_ros.rewards.learned.model import ModelSize, RewardNetwork
from tmrl_ros.rewards.learned.recorded import episodes_from_bags, recorded_frames
from tmrl_ros.rewards.learned.relabel import relabel

CAMERAS = ("exterior", "wrist")
TEXTS = {"red": ("lift the red cube", "lift the ruby cube"), "blue": ("lift the blue cube",)}
SUCCESS, FAILURE = EpisodeOutcome.SUCCESS, EpisodeOutcome.FAILURE


def record(
    session: Path, name: str, result: EpisodeOutcome, *, change=lambda piece: piece, label=None
):
    recording = Recording(session, custom={})
    recording.start()
    pieces = [change(piece) for piece in episode(name, 3, result)]
    if label is not None:
        pieces.append(event(name, EpisodeState.ENDED, label, 3, "operator"))
    recording.put(item(piece) for piece in pieces)
    recording.close()


def by_nobody(piece):
    """As if no simulator had judged."""
    return replace(piece, model="learned") if isinstance(piece, Reward) else piece


def truthful(piece):
    if not isinstance(piece, Reward):
        return piece
    return replace(
        piece, progress=piece.decision / 3, success_probability=float(piece.decision == 3)
    )


def test_a_simulators_word_is_the_label(tmp_path):
    record(tmp_path, "train_000000", SUCCESS, change=truthful)
    (group,) = episodes_from_bags(tmp_path, CAMERAS, TEXTS)

    assert group[0].video.frames.shape == (4, 2, 12, 16, 3)
    assert group[0].prompts == TEXTS["red"]
    np.testing.assert_allclose(group[0].progress, [0, 1 / 3, 2 / 3, 1])
    assert group[0].success.tolist() == [False, False, False, True]


def test_a_success_is_none_for_what_another_instruction_asks(tmp_path):
    record(tmp_path, "train_000000", SUCCESS, change=truthful)
    ((_, other),) = episodes_from_bags(tmp_path, CAMERAS, TEXTS)

    assert other.prompts == TEXTS["blue"]
    assert not other.succeeds and other.progress.max() == 0.0


def test_where_no_simulator_judged_the_outcome_is_the_label(tmp_path):
    record(tmp_path, "train_000000", FAILURE, change=by_nobody)
    ((own,),) = episodes_from_bags(tmp_path, CAMERAS, TEXTS)

    assert np.isnan(own.progress).all() and not own.succeeds


def test_a_persons_word_counts_above_the_simulators(tmp_path):
    record(tmp_path, "train_000000", SUCCESS, change=truthful, label=FAILURE)
    ((own,),) = episodes_from_bags(tmp_path, CAMERAS, TEXTS)

    assert not own.succeeds


def test_aborted_episodes_teach_nothing(tmp_path):
    record(tmp_path, "train_000000", EpisodeOutcome.ABORTED)

    assert list(episodes_from_bags(tmp_path, CAMERAS, TEXTS)) == []


def test_a_camera_that_was_not_recorded_is_named(tmp_path):
    record(tmp_path, "train_000000", SUCCESS)

    with pytest.raises(BagError, match="no picture of camera 'ceiling'"):
        list(episodes_from_bags(tmp_path, ("ceiling",), TEXTS))


def test_a_folder_without_bags_is_named(tmp_path):
    with pytest.raises(BagError, match="holds no bags"):
        list(episodes_from_bags(tmp_path, CAMERAS, TEXTS))


def untrained(prompts: list[list[str]], seed: int = 0) -> LearnedReward:
    size = ModelSize(image_height=16, image_width=16, prompt_size=16, width=32, layers=1, heads=2)
    torch.manual_seed(seed)
    spec = RewardSpec(
        task="lift",
        cameras=list(CAMERAS),
        prompts=prompts,
        network=network_spec(size),
        calibration=CalibrationRecord(
            threshold=0.01, k=2, n=2, episodes=1, successes=1, found=1, false_positives=0
        ),
        training=TrainingRecord(
            command="",
            source="",
            videos=1,
            episodes=1,
            videos_by_kind={},
            calibration_videos=1,
            steps=1,
            seed=seed,
            data_sha256="",
            losses={},
            wall_s=0.0,
        ),
    )
    return LearnedReward(spec, RewardNetwork(size).eval())


def digest(bag: Path) -> str:
    return hashlib.sha256(b"".join(f.read_bytes() for f in sorted(bag.glob("*.mcap")))).hexdigest()


def test_judged_again_the_bag_stays_as_it_was(tmp_path):
    record(tmp_path, "train_000000", FAILURE)
    bag = tmp_path / "episodes" / "train_000000"
    before = digest(bag)
    model = untrained([["lift the red cube"]])
    (done,) = relabel(tmp_path, model, "tmrl reward relabel x")

    assert digest(bag) == before
    assert sidecar_file(bag, model.hash).is_file() and chosen(tmp_path) == model.hash
    assert (done.episode_id, done.before, done.now) == ("train_000000", False, True)


def test_judged_again_every_observation_has_its_estimate(tmp_path):
    record(tmp_path, "train_000000", FAILURE)
    bag = tmp_path / "episodes" / "train_000000"
    model = untrained([["lift the red cube"]])
    relabel(tmp_path, model, "")
    seen = recorded_frames(bag, CAMERAS)
    rewards = as_it_counts(tmp_path, seen.record).rewards
    model.begin_episode(seen.prompt)
    live = [model.observe(list(frames)) for frames in seen.frames]

    assert [r.sequence for r in rewards] == [o.sequence for o in seen.observations]
    assert [r.progress for r in rewards] == pytest.approx([j.progress for j in live])
    # Two of two: the first frame alone is never a success.
    assert [r.success for r in rewards] == [False, True, True, True]
    assert {r.model_hash for r in rewards} == {model.hash}


def test_what_the_model_cannot_judge_is_not_known(tmp_path):
    record(tmp_path, "train_000000", FAILURE)
    bag = tmp_path / "episodes" / "train_000000"
    model = untrained([["lift the blue cube"]])
    (done,) = relabel(tmp_path, model, "")
    sidecar = read_sidecar(bag, model.hash)

    assert done.unknown == done.estimates == 4
    assert all(not r.valid and np.isnan(r.progress) for r in sidecar.rewards)
    assert "not trained on the prompt" in sidecar.rewards[0].error


def test_the_recorded_rewards_count_until_and_after_a_model_is_chosen(tmp_path):
    record(tmp_path, "train_000000", FAILURE)
    bag = tmp_path / "episodes" / "train_000000"
    recorded = read_episode(bag)

    assert as_it_counts(tmp_path, recorded).rewards is recorded.rewards
    relabel(tmp_path, untrained([["lift the red cube"]]), "")
    assert as_it_counts(tmp_path, recorded).rewards != recorded.rewards
    choose(tmp_path, "")
    assert as_it_counts(tmp_path, recorded).rewards is recorded.rewards


def test_the_learner_s_rows_follow_the_model_that_counts(tmp_path):
    record(tmp_path, "train_000000", FAILURE)
    recorded = read_episode(tmp_path / "episodes" / "train_000000")
    assert not any(row.success_episode for row in assemble(recorded).transitions)
    relabel(tmp_path, untrained([["lift the red cube"]]), "")
    counted = as_it_counts(tmp_path, recorded)

    assert counted.ended.outcome is SUCCESS and recorded.ended.outcome is FAILURE
    rows = assemble(counted).transitions
    assert [row.reward for row in rows] == [1.0], "the first success ends it"
    assert rows[0].terminated and rows[0].success_episode


def test_a_person_s_label_stays_above_the_model_that_counts(tmp_path):
    record(tmp_path, "train_000000", FAILURE, label=FAILURE)
    recorded = read_episode(tmp_path / "episodes" / "train_000000")
    relabel(tmp_path, untrained([["lift the red cube"]]), "")
    counted = as_it_counts(tmp_path, recorded)

    assert counted.ended.outcome is FAILURE
    assert not any(row.success_episode for row in assemble(counted).transitions)


@pytest.mark.parametrize(
    ("valid", "success", "recorded", "now"),
    [
        (True, True, FAILURE, SUCCESS),
        (True, True, EpisodeOutcome.TIMEOUT, SUCCESS),
        (True, False, SUCCESS, EpisodeOutcome.TIMEOUT),
        (True, False, FAILURE, FAILURE),
        (False, False, SUCCESS, SUCCESS),
        (True, True, EpisodeOutcome.ABORTED, EpisodeOutcome.ABORTED),
    ],
)
def test_what_a_model_makes_of_an_outcome(valid, success, recorded, now):
    estimate = Reward(0, 1, "x", 1, valid, 0.5, 0.5, success, False)
    assert outcome_by([estimate], recorded) is now


def test_the_newest_of_two_models_counts(tmp_path):
    record(tmp_path, "train_000000", FAILURE)
    bag = tmp_path / "episodes" / "train_000000"
    one, two = (untrained([["lift the red cube"]], seed=seed) for seed in (0, 1))
    relabel(tmp_path, one, "")
    relabel(tmp_path, two, "")

    counted = as_it_counts(tmp_path, read_episode(bag))
    assert {r.model_hash for r in counted.rewards} == {two.hash}
    assert read_sidecar(bag, one.hash) is not None


def test_a_damaged_sidecar_is_named(tmp_path):
    record(tmp_path, "train_000000", FAILURE)
    bag = tmp_path / "episodes" / "train_000000"
    model = untrained([["lift the red cube"]])
    relabel(tmp_path, model, "")
    sidecar_file(bag, model.hash).write_text("{")

    with pytest.raises(BagError, match="is damaged"):
        as_it_counts(tmp_path, read_episode(bag))
