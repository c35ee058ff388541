"""A session goes on with another method: all rows, new networks, the old checkpoint kept aside."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from told import ROWS, learn, pieces_of, record_of

from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.types import Chunk, EpisodeOutcome

SETTINGS = {"updates_per_decision": 2, "critics": 2, "warmup_episodes": 0}
RESULTS = (EpisodeOutcome.TIMEOUT, EpisodeOutcome.SUCCESS, EpisodeOutcome.SUCCESS)


def name_of(number):
    return f"train_{number:06d}"


def pieces(number):
    return pieces_of(name_of(number), RESULTS[number % len(RESULTS)])


def session(make, name, episodes=3):
    """A learner that has learned from some episodes and saved, and their records."""
    core = make(name=name, **SETTINGS)
    for number in range(episodes):
        for piece in pieces(number):
            core.on_piece(piece)
    learn(core)
    core.save()
    return core, [record_of(pieces(number)) for number in range(episodes)]


def all_of(folder):
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.*")}


@pytest.mark.parametrize(
    ("before", "after"), [("tmrl", "rlpd"), ("dsrl", "tmrl"), ("tmrl", "vgps")]
)
def test_another_method_learns_from_every_row_before_the_next_episode(make, before, after):
    old, records = session(make, before)
    kept = all_of(old.folder)
    new = make(name=after, **SETTINGS)
    untouched = {k: v.clone() for k, v in new.learner.acting.state_dict().items()}
    assert new.restore(records) == 3
    assert all(torch.equal(v, untouched[k]) for k, v in new.learner.acting.state_dict().items())
    assert new.seeding and new.learner.updates == 0
    assert new.replay.size == 3 * ROWS and new.updates_owed == 3 * ROWS * 2
    assert (new.progress.episodes, new.progress.successes) == (3, 2)
    while (weights := new.work(1.0)) is None:
        assert new.seeding
    assert (weights.version, weights.trained_through) == (1, name_of(2))
    assert new.learner.updates == 3 * ROWS * 2
    new.save()
    aside = old.folder / f"{before}-{old.learner.updates:09d}"
    assert all_of(aside) == kept, "what the other method learned is there as it was"
    assert json.loads((new.folder / "learner.json").read_text())["method"]["name"] == after


def test_it_goes_on_with_new_episodes_and_can_be_stopped_and_resumed(make):
    _, records = session(make, "tmrl")
    new = make(name="rlpd", **SETTINGS)
    new.restore(records)
    while new.seeding:
        new.work(1.0)
    for piece in pieces(3):
        new.on_piece(piece)
    assert learn(new) == [name_of(3)]
    new.save()
    again = make(name="rlpd", **SETTINGS)
    again.restore([*records, record_of(pieces(3))])
    assert not again.seeding and again.updates_owed == 0
    assert again.learner.updates == new.learner.updates
    assert again.progress == new.progress and again.progress.prior_through == name_of(2)
    assert again.replay.size == new.replay.size == 4 * ROWS
    assert np.array_equal(again.replay._prior[: 4 * ROWS], new.replay._prior[: 4 * ROWS])


def test_killed_before_its_first_checkpoint_it_begins_anew_again(make):
    _, records = session(make, "tmrl")
    make(name="rlpd", **SETTINGS).restore(records)
    again = make(name="rlpd", **SETTINGS)
    again.restore(records)
    assert again.seeding and again.replay.size == 3 * ROWS


def test_back_again_the_first_method_s_checkpoints_are_both_kept(make):
    _, records = session(make, "tmrl")
    for name in ("rlpd", "tmrl"):
        core = make(name=name, **SETTINGS)
        core.restore(records)
        while core.seeding:
            core.work(1.0)
        core.save()
    updates = 3 * ROWS * 2
    assert sorted(path.parent.name for path in core.folder.glob("*/learner.json")) == [
        f"rlpd-{updates:09d}",
        f"tmrl-{updates:09d}",
    ]


def test_other_settings_of_the_same_method_begin_anew_as_well(make):
    _, records = session(make, "tmrl")
    core = make(name="tmrl", **{**SETTINGS, "hidden": 24})
    core.restore(records)
    assert core.seeding and core.learner.updates == 0


def test_a_checkpoint_from_before_a_setting_was_known_is_still_this_method_s(make):
    old, records = session(make, "tmrl")
    index = old.folder / "learner.json"
    values = json.loads(index.read_text())
    values["method"].pop("rerank_samples")
    index.write_text(json.dumps(values))
    core = make(name="tmrl", **SETTINGS)
    core.restore(records)
    assert core.learner.updates == old.learner.updates and not core.seeding


def test_rows_of_another_method_are_prior_data(make):
    def acted(number):
        return [
            piece if not isinstance(piece, Chunk) else replace(piece, parameters_version=4)
            for piece in pieces(number)
        ]

    _, _ = session(make, "tmrl")
    core = make(name="rlpd", **SETTINGS)
    core.restore([record_of(acted(number)) for number in range(3)])
    while core.seeding:
        core.work(1.0)
    for piece in acted(3):
        core.on_piece(piece)
    learn(core)
    assert core.replay._prior[: 4 * ROWS].tolist() == [True] * 3 * ROWS + [False] * ROWS


def test_a_method_whose_critics_judge_noise_takes_only_rows_that_one_noise_made(make):
    change = {
        1: {"edit": np.full(3, 0.01, np.float32)},
        2: {"t_context": 0.5},
        3: {"z": np.zeros(0, np.float32)},
    }
    size = {}
    for name in ("dsrl", "tmrl"):
        core = make(name=name, **SETTINGS)
        for number in range(4):
            for piece in pieces(number):
                if isinstance(piece, Chunk):
                    piece = replace(piece, **change.get(number, {}))
                core.on_piece(piece)
        assert learn(core) == [name_of(number) for number in range(4)]
        size[name] = core.replay.size
    assert size["dsrl"] == ROWS
    assert size["tmrl"] == 4 * ROWS, "critics of plans do not ask how a motion was made"


def test_a_method_that_can_use_nothing_recorded_begins_with_the_next_episode(make):
    _, records = session(make, "tmrl")
    for record in records:
        record.chunks = [replace(chunk, t_context=0.5) for chunk in record.chunks]
    core = make(name="dsrl", **SETTINGS)
    assert core.restore(records) == 3
    assert not core.seeding and core.replay.size == 0 and core.updates_owed == 0
    assert core.progress.version == 0, "untrained weights are never acted with"
    for piece in pieces(3):
        core.on_piece(piece)
    assert learn(core) == [name_of(3)]
    assert core.replay.size == ROWS and core.progress.episodes == 4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dsrl", "critics judge action noise.*method=tmrl, expo, rlpd, vgps"),
        ("rlpd", "tmrl demonstrate"),
    ],
)
def test_an_earlier_session_of_no_use_is_refused_with_a_remedy(make, name, words):
    nothing = np.zeros(0, np.float32)
    told = [
        replace(piece, z=nothing, features=nothing) if isinstance(piece, Chunk) else piece
        for piece in pieces(1)
    ]
    with pytest.raises(OperatorError, match=f"session friday: {name} finds nothing.*{words}"):
        make(name=name, **SETTINGS).seed("friday", [record_of(told)])
