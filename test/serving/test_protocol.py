"""What may be asked of a model, and the sentence about what may not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_model import EVERYTHING, HORIZON, STATE, WIDTH, picture, spec

from tmrl_ros.serving.protocol import (
    VERSION,
    Limits,
    ProtocolError,
    metadata,
    read_offer,
    read_request,
)

LIMITS = Limits(samples=8)
GOOD = {
    "tmrl_version": VERSION,
    "request": 3,
    "images": {"scene": picture(), "wrist": picture()},
    "state": np.zeros(STATE, np.float32),
    "prompt": "lift it",
    "samples": 2,
}


def ask(**changes):
    values = {**GOOD, **changes}
    return read_request({k: v for k, v in values.items() if v is not None}, spec(), LIMITS)


def test_fields_arrive_as_the_model_wants_them():
    noise = np.ones((2, 1, WIDTH), np.float64)
    committed = np.ones((3, WIDTH), np.float32)
    asked = ask(noise=noise, t_context=[0, 1], context_seed=9, committed=committed)
    request = asked.request
    assert (asked.number, asked.plain, request.samples, request.context_seed) == (3, False, 2, 9)
    assert request.noise.dtype == request.t_context.dtype == np.float32
    assert request.committed.shape == (3, WIDTH)
    assert [len(list(asked.parts())), request.prompt] == [1, "lift it"]


def test_samples_of_several_seeds_become_one_request_for_each_seed():
    noise = np.arange(4, dtype=np.float32)[:, None, None] * np.ones((4, 1, WIDTH), np.float32)
    t = np.array([0.0, 0.1, 0.2, 0.3])
    asked = ask(samples=4, noise=noise, t_context=t, context_seed=[5, 6, 5, 7])
    parts = [(rows.tolist(), part) for rows, part in asked.parts()]
    assert [rows for rows, _ in parts] == [[0, 2], [1], [3]]
    assert [part.context_seed for _, part in parts] == [5, 6, 7]
    for rows, part in parts:
        assert part.samples == len(rows)
        assert part.noise[:, 0, 0].tolist() == rows
        assert np.allclose(part.t_context, t[rows])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tmrl_version": 2}, "version 1 of the protocol, the request is of version 2"),
        ({"tmrl_version": np.zeros(2)}, "same release"),
        ({"colour": 1}, "'colour'"),
        ({"state": None}, "'state'"),
        ({"state": np.zeros(3)}, r"state has the shape \(3,\); echo takes \(5,\)"),
        ({"state": [1.0, np.inf, 0, 0, 0]}, "not finite"),
        ({"state": [1e300, 0, 0, 0, 0]}, "not finite"),
        ({"state": ["a"] * 5}, "no array of numbers"),
        ({"prompt": 3}, "'prompt'"),
        ({"prompt": "a" * 3000}, "'prompt'"),
        ({"images": {"scene": picture()}}, "no image of camera 'wrist'"),
        ({"images": {**GOOD["images"], "extra": picture()}}, "no camera 'extra'"),
        ({"images": {"scene": np.zeros((4, 4, 3)), "wrist": picture()}}, "an image is uint8"),
        ({"images": {"scene": np.zeros((4, 0, 3), np.uint8), "wrist": picture()}}, "an image is"),
        ({"samples": 0}, "'samples'"),
        ({"samples": 9}, "9 samples are asked for; this server makes 8"),
        ({"noise": np.zeros((2, HORIZON + 1, WIDTH))}, "noise has the shape"),
        ({"noise": np.zeros((1, HORIZON, WIDTH))}, "noise has the shape"),
        ({"noise": np.zeros((2, HORIZON, WIDTH + 1))}, "noise has the shape"),
        ({"noise": np.full((2, 1, WIDTH), np.nan)}, "not finite"),
        ({"t_context": [0.0]}, "t_context"),
        ({"t_context": [0.0, 1.5]}, "t_context"),
        ({"context_seed": -1}, "seed"),
        ({"context_seed": 2**63}, "seed"),
        ({"context_seed": [1, 2, 3]}, "3 seeds for 2 samples"),
        ({"context_seed": 0.5}, "seed"),
        ({"committed": np.zeros((HORIZON + 1, WIDTH))}, "committed prefix has the shape"),
        ({"committed": np.zeros(WIDTH)}, "committed prefix has the shape"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(changes, said):
    with pytest.raises(ProtocolError, match=said) as refusal:
        ask(**changes)
    assert "\n" not in str(refusal.value) and str(refusal.value).endswith(".")


@pytest.mark.parametrize(
    ("lacking", "changes"),
    [
        ("action_noise", {"noise": np.zeros((2, HORIZON, WIDTH))}),
        ("low_rank_noise", {"noise": np.zeros((2, 1, WIDTH))}),
        ("context_timestep", {"t_context": [0.0, 0.5]}),
        ("context_seed", {"context_seed": 1}),
        ("batch", {"samples": 2}),
        ("committed", {"committed": np.zeros((1, WIDTH))}),
    ],
)
def test_what_a_model_does_not_declare_cannot_be_asked_of_it(lacking, changes):
    poorer = spec(capabilities=tuple(name for name in EVERYTHING if name != lacking))
    with pytest.raises(ProtocolError, match="echo cannot take"):
        read_request({**GOOD, **changes}, poorer, LIMITS)


PLAIN = {
    "observation/scene": picture(1),
    "observation/images/wrist": picture(2),
    "observation/state": np.zeros(STATE),
    "prompt": "lift it",
    "observation/of_no_use": np.zeros(3),
}


def test_an_observation_of_openpi_is_one_sample_without_noise():
    asked = read_request(PLAIN, spec(), LIMITS)
    assert asked.plain and asked.request.samples == 1 and asked.request.noise is None
    assert {name: int(image[0, 0, 0]) for name, image in asked.request.images.items()} == {
        "scene": 1,
        "wrist": 2,
    }
    first = {name: np.moveaxis(picture(3), -1, 0) for name in ("scene", "wrist")}
    nested = read_request({"images": first, "state": np.zeros(STATE)}, spec(), LIMITS)
    assert nested.request.images["wrist"].shape == picture().shape


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("observation/state", "no 'observation/state'"),
        (
            "observation/scene",
            "no image of camera 'scene', which would be 'observation/images/scene",
        ),
    ],
)
def test_an_observation_of_openpi_that_lacks_something_is_told_which_key(missing, said):
    with pytest.raises(ProtocolError, match=said):
        read_request({k: v for k, v in PLAIN.items() if k != missing}, spec(), LIMITS)


values = st.one_of(
    st.none(),
    st.integers(-5, 5),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.floats(-2, 2), max_size=6),
    st.just(np.zeros((2, 1, WIDTH), np.float32)),
    st.just(np.zeros(STATE, np.int8)),
    st.just({"scene": picture(), "wrist": picture()}),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(st.dictionaries(st.sampled_from([*GOOD, "noise", "t_context", "context_seed"]), values))
def test_any_fields_are_a_request_that_fits_or_a_sentence(changes):
    for message in (changes, {**GOOD, **changes}):
        try:
            request = read_request(message, spec(), LIMITS).request
        except ProtocolError as error:
            assert str(error)
        else:
            assert request.state.shape == (STATE,) and 1 <= request.samples <= LIMITS.samples


def test_an_offer_comes_back_and_openpis_is_none():
    offer = read_offer(metadata(spec(), LIMITS, {"kind": "x"}))
    assert (offer.spec, offer.limits, offer.bundle) == (spec(), LIMITS, {"kind": "x"})
    assert read_offer({"reset_pose": [0.0]}) is None and read_offer({}) is None


def test_an_offer_of_another_version_or_damaged_is_refused():
    said = metadata(spec(), LIMITS)
    with pytest.raises(ProtocolError, match="version 7"):
        read_offer({"tmrl": {**said["tmrl"], "version": 7}})
    with pytest.raises(ProtocolError, match="spec"):
        read_offer({"tmrl": {"version": 1}})
    with pytest.raises(ProtocolError, match="no map"):
        read_offer([1])
