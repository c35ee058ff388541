"""What the context timestep does, on LeRobot's own classes with tiny random weights."""

import copy

import numpy as np
import pytest
import torch
from asking import SAMPLES, pictures, request_of

from tmrl_ros.vla.backbone import Kind
from tmrl_ros.vla.checkpoint_files import ACTION
from tmrl_ros.vla.csp import context_noise

T = np.float32


def at(t, samples=SAMPLES):
    return np.full(samples, t, T)


def lerobot_chunk(model, request):
    """What LeRobot's own predict_action_chunk makes of the same observation and noise."""
    policy = model.sampler.backbone.policy
    batch = model.batch([request.images], request.state[None], [request.prompt])
    noise = model._noise(request)
    with torch.inference_mode():
        rows = [policy.predict_action_chunk(dict(batch), noise=row[None]) for row in noise]
    return model._scales[ACTION].undo(torch.cat(rows)).numpy()


def test_without_context_noise_the_chunk_is_the_unmodified_policys(model):
    request = request_of(samples=1, t_context=at(0, 1))
    theirs, ours = lerobot_chunk(model, request), model.infer(request).actions
    assert np.array_equal(ours, theirs)
    assert np.abs(theirs).max() > 0.01


def test_candidates_of_one_batch_are_those_of_single_calls_of_the_unmodified_policy(model):
    request = request_of(t_context=at(0))
    assert model.infer(request).actions == pytest.approx(lerobot_chunk(model, request), abs=1e-4)


def test_images_and_prompt_change_a_chunk_at_0_and_half_but_not_at_1(ask):
    for t, differs in ((0.0, True), (0.5, True), (1.0, False)):
        chunk = ask(t_context=at(t))
        others = ask(t_context=at(t), images=pictures(5)), ask(t_context=at(t), prompt="go home")
        assert [not np.array_equal(chunk, other) for other in others] == [differs, differs], t


def test_at_1_a_longer_prompt_and_black_pictures_change_nothing_either(ask):
    black = {name: np.zeros_like(item) for name, item in pictures().items()}
    chunk = ask(t_context=at(1), prompt="a", images=black)
    assert np.array_equal(chunk, ask(t_context=at(1), prompt="abc def ghi"))


def test_noise_moves_a_chunk_more_the_larger_its_timestep(ask):
    clean = ask(t_context=at(0))
    moved = [
        np.mean([np.abs(ask(t_context=at(t), context_seed=k) - clean).mean() for k in range(8)])
        for t in (0.01, 0.1, 0.6)
    ]
    assert 0 < moved[0] < moved[1] < moved[2]


def test_cached_candidates_equal_those_asked_one_by_one(ask):
    noise = request_of().noise
    t = np.array([0.0, 0.3, 0.3], T)
    together = ask(t_context=t)
    for k in range(SAMPLES):
        alone = ask(t_context=t[k : k + 1], noise=noise[k : k + 1], samples=1)
        assert together[k] == pytest.approx(alone[0], abs=1e-4), k


def test_candidates_of_one_timestep_share_one_pass_of_the_language_model(model, monkeypatch):
    backbone, rows = model.sampler.backbone, []
    original = backbone.prefill

    def counted(embeddings, valid, blocks):
        rows.append(len(embeddings))
        return original(embeddings, valid, blocks)

    monkeypatch.setattr(backbone, "prefill", counted)
    model.infer(request_of(t_context=at(0.4)))
    model.infer(request_of(t_context=np.array([0.4, 0.1, 0.4], T)))
    assert rows == [1, 2]


def test_the_same_seeds_give_the_same_chunk_in_another_process_of_the_model(
    model, checkpoints, kind
):
    from tmrl_ros.vla.load import load_model

    request = request_of(t_context=at(0.7), noise=None)
    first, again = model.infer(request).actions, model.infer(request).actions
    other = load_model(checkpoints[kind], "cpu").infer(request).actions
    assert np.array_equal(first, again) and np.array_equal(first, other)
    assert not np.array_equal(
        first, model.infer(request_of(t_context=at(0.7), noise=None, context_seed=8)).actions
    )


def test_an_untrained_timestep_embedding_adds_nothing_and_a_trained_one_does(model):
    smoothing = model.sampler.smoothing
    times = torch.tensor([0.0, 0.5, 1.0])
    with torch.inference_mode():
        assert not smoothing.context_time(times).any()
        trained = copy.deepcopy(smoothing)
        torch.nn.init.normal_(trained.embed[2].weight)
        found = trained.context_time(times)
    assert not torch.equal(found[0], found[1]) and not torch.equal(found[1], found[2])


def test_noised_tokens_have_the_sizes_that_the_language_model_knows(model):
    request = request_of()
    prefix = model.embed(model.batch([request.images], request.state[None], [request.prompt]))
    smoothing = model.sampler.smoothing
    eps = context_noise(0, prefix.embeddings.shape)
    with torch.inference_mode():
        clean, seen = smoothing(prefix, torch.tensor([0.0]), eps)
        noise, all_seen = smoothing(prefix, torch.tensor([1.0]), eps)
    assert torch.equal(clean, prefix.embeddings) and torch.equal(seen, prefix.valid)
    rms = noise.square().mean(-1).sqrt()[0]
    for kind in (Kind.IMAGE, Kind.TEXT):
        here = prefix.kinds == kind
        assert rms[here].mean() == pytest.approx(float(smoothing.reference_rms[kind]), rel=0.15)
        assert all_seen[0, here].all()


def test_the_state_of_smolvla_stays_clean_where_the_checkpoint_says_so(checkpoints, tmp_path):
    import shutil

    from tmrl_ros.vla import checkpoint_files as files
    from tmrl_ros.vla.load import load_model

    folder = tmp_path / "clean"
    shutil.copytree(checkpoints["smolvla"], folder)
    said = files.read_deployment(folder)
    csp = files.CspSettings(smooth_state=False)
    files.write_deployment(folder, said.model_copy(update={"csp": csp}))
    clean, noised = load_model(folder, "cpu"), load_model(checkpoints["smolvla"], "cpu")
    other = request_of().state + np.float32(0.5)
    for model, differs in ((clean, True), (noised, False)):
        chunks = [
            model.infer(request_of(t_context=at(1), **change)).actions
            for change in ({}, {"state": other})
        ]
        assert np.array_equal(*chunks) != differs
