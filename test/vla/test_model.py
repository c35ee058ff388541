"""A loaded model: what it says of itself, units, noise, committed rows, unfit requests."""

import numpy as np
import pytest
import torch
from asking import ACTION, CAMERAS, HORIZON, SAMPLES, pictures, request_of
from safetensors.torch import load_file

from tmrl_ros.vla.interface import expand_noise
from tmrl_ros.vla.load import ModelOptions, load_model
from tmrl_ros.vla.processing import prompt_text


def test_it_says_what_it_is(model, kind):
    spec = model.spec
    assert (spec.action_dim, spec.horizon, spec.state_dim) == (ACTION, HORIZON, 4)
    assert spec.cameras == CAMERAS and spec.name == f"tiny {kind}"
    assert spec.action_space == "cartesian_relative" and spec.control_rate_hz == 20.0
    assert {"action_noise", "context_timestep", "batch"} <= set(spec.capabilities)
    assert len(spec.model_sha256) == len(spec.normalisation_sha256) == 64


def test_weights_are_those_of_the_file(models, checkpoints, kind):
    stored = load_file(checkpoints[kind] / "model.safetensors")
    own = models[kind].sampler.backbone.policy.state_dict()
    assert stored.keys() <= own.keys() and len(stored) > 40
    assert all(torch.equal(own[name], value) for name, value in stored.items())


def test_answers_have_the_shapes_of_the_interface(model):
    answer = model.infer(request_of())
    assert answer.actions.shape == (SAMPLES, HORIZON, ACTION)
    assert answer.actions.dtype == answer.prefix.dtype == np.float32
    assert answer.prefix.shape == (64,) and np.isfinite(answer.prefix).all()
    assert set(answer.timings_ms) == {"prefix_ms", "context_ms", "flow_ms"}


def test_the_prefix_tells_pictures_apart(model):
    first, second = (model.infer(request_of(images=pictures(k))).prefix for k in (1, 2))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, model.infer(request_of(images=pictures(1), samples=1)).prefix)


def test_low_rank_noise_is_that_noise_held(ask):
    rows = request_of().noise[:, :2]
    assert np.array_equal(ask(noise=rows), ask(noise=expand_noise(rows, HORIZON)))
    assert not np.array_equal(ask(noise=rows), ask(noise=rows[:, :1]))


def test_a_chunk_begins_with_what_was_committed_and_the_rest_fits_to_it(ask):
    free = ask()
    rows = free[0, :3] + np.float32(0.4)
    chunks = ask(committed=rows)
    assert all(np.array_equal(chunk[:3], rows) for chunk in chunks)
    assert not np.array_equal(chunks[:, 3:], free[:, 3:])


def test_every_sample_may_have_a_context_seed_of_its_own(model):
    t, seeds = np.array([0.0, 0.6, 0.6, 0.6], np.float32), np.array([1, 1, 2, 2])
    noise = np.repeat(request_of(samples=1).noise, 4, 0)
    asked = {"samples": 4, "noise": noise, "t_context": t, "context_seed": None}
    together = model.infer_seeded(request_of(**asked), seeds).actions
    for k, seed in enumerate(seeds.tolist()):
        alone = {"samples": 1, "noise": noise[:1], "t_context": t[k : k + 1], "context_seed": seed}
        assert np.allclose(together[k], model.infer(request_of(**alone)).actions[0], atol=1e-4)
    assert np.allclose(together[2], together[3], atol=1e-5)
    assert np.abs(together[1] - together[2]).max() > 1e-3
    with pytest.raises(ValueError, match="seeds has shape"):
        model.infer_seeded(request_of(**asked), seeds[:2])


def test_actions_are_in_the_units_of_the_statistics(models, kind):
    model = models[kind]
    scale = model._scales["action"]
    values = torch.linspace(-1, 1, ACTION)
    assert torch.allclose(scale.apply(scale.undo(values)), values, atol=1e-5)
    assert not torch.allclose(scale.undo(values), values)


def test_warm_up_runs(model):
    model.warm_up()


def test_half_precision_stays_near(checkpoints, kind):
    half = load_model(checkpoints[kind], "cpu", ModelOptions(precision="bfloat16"))
    whole = load_model(checkpoints[kind], "cpu")
    chunks = [item.infer(request_of()).actions for item in (half, whole)]
    assert not np.array_equal(*chunks)
    assert np.abs(chunks[0] - chunks[1]).mean() < 0.3 * np.abs(chunks[1]).std()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": {}}, "camera 'front' is missing"),
        ({"images": {"front": np.zeros((4, 4)), "wrist": np.zeros((4, 4))}}, "not uint8"),
        ({"state": np.zeros(3, np.float32)}, "state has shape"),
        ({"state": np.full(4, np.nan, np.float32)}, "not finite"),
        ({"t_context": np.full(SAMPLES, 1.5, np.float32)}, "not in"),
        ({"t_context": np.zeros(1, np.float32)}, "t_context has shape"),
        ({"noise": np.zeros((1, HORIZON, ACTION), np.float32)}, "noise has shape"),
        ({"noise": np.zeros((SAMPLES, 9, ACTION), np.float32)}, "noise has shape"),
        ({"committed": np.zeros((HORIZON, ACTION), np.float32)}, "committed has 8 rows"),
        ({"samples": 0, "noise": None}, "samples 0"),
    ],
)
def test_a_request_that_does_not_fit_is_one_sentence(models, change, words):
    with pytest.raises(ValueError, match=words):
        models["smolvla"].infer(request_of(**change))


def test_pi05_reads_the_state_in_its_prompt():
    text = prompt_text("pi05", "pick_up\n", torch.tensor([-1.0, 0.0, 1.0]))
    assert text == "Task: pick up, State: 0 128 255;\nAction: "
    assert prompt_text("pi0", "pick", torch.zeros(1)) == "pick\n"
