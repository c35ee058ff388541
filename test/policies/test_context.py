"""Prompts and contexts become the same numbers everywhere."""

import numpy as np
import pytest

from tmrl_ros.policies.context import ContextSpec, actor_features, feature_size
from tmrl_ros.policies.prompt import embed_prompt

SPEC = ContextSpec(("red", "blue"), 8, ("prompt",))


def test_a_prompt_is_embedded_the_same_on_every_machine() -> None:
    embedded = embed_prompt("Lift the  RED cube!", 8)
    assert np.array_equal(embedded, embed_prompt("lift the red cube", 8))
    assert embedded[:3] == pytest.approx(EMBEDDED, abs=1e-5)
    assert float(np.sqrt(np.mean(embedded**2))) == pytest.approx(1.0, abs=1e-5)


EMBEDDED = [0.05482, -0.33716, -0.25213]


def test_texts_that_share_words_lie_nearer_than_others() -> None:
    a, b, c = (
        embed_prompt(t, 64) for t in ("lift the red cube", "lift the blue cube", "open a drawer")
    )
    assert a @ b > a @ c


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="has no letters"):
        embed_prompt("...", 8)


def test_objects_are_put_in_the_policys_order_and_a_missing_one_is_named() -> None:
    seen = np.arange(6, dtype=np.float32)
    assert SPEC.select_objects(["blue", "red"], seen)[0].tolist() == [3.0, 4.0, 5.0]
    with pytest.raises(ValueError, match="no object 'blue'"):
        SPEC.select_objects(["red"], seen[:3])


def test_mask_and_features_have_the_stated_sizes() -> None:
    mask = SPEC.smoothed_mask()
    assert mask.sum() == 8 and mask.shape == (SPEC.size,)
    context = SPEC.context("lift", np.ones((2, 3), np.float32), np.zeros(4, np.float32))
    features = actor_features(context, SPEC)
    assert features.shape == (feature_size(SPEC),)
    assert np.abs(features).max() <= 5
