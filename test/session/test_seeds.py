from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.core.types import Phase
from tmrl_ros.session.seeds import episode_id, episode_seed, split_episode_id


def test_seeds_are_the_same_on_every_machine():
    # printf tmrl/0/train/0 | sha256sum, first eight bytes read as little endian
    assert episode_seed(0, Phase.TRAIN, 0) == 3184465609877385219
    assert episode_seed(7, Phase.EVALUATE_AFTER, 99) == 14004056415247325227


@given(st.integers(0, 2**31 - 1), st.integers(0, 10_000))
def test_both_evaluations_start_alike_and_training_does_not(seed, index):
    before = episode_seed(seed, Phase.EVALUATE_BEFORE, index)
    assert before == episode_seed(seed, Phase.EVALUATE_AFTER, index)
    assert before != episode_seed(seed, Phase.TRAIN, index)
    assert 0 <= before < 2**64


def test_no_two_training_episodes_share_a_seed():
    seeds = {episode_seed(seed, Phase.TRAIN, i) for seed in range(5) for i in range(1000)}
    assert len(seeds) == 5000


@given(st.sampled_from(Phase), st.integers(0, 999_999))
def test_names_can_be_read_back(phase, index):
    name = episode_id(phase, index)
    assert split_episode_id(name) == (name[:-7], index)


def test_other_names_are_not_episodes():
    assert split_episode_id("") is None
    assert split_episode_id("train_") is None
    assert split_episode_id("walk_000001") is None
