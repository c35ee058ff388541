"""Fine-tuning on recorded demonstrations: it learns, stops, goes on, is served again."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded import item
from sessions import open_bags, put, story

from tmrl_ros.cli.main import main as tmrl
from tmrl_ros.core.config import VlaTrainingConfig
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import Chunk, ChunkSource, EpisodeOutcome
from tmrl_ros.vla import pretrain
from tmrl_ros.vla.interface import VlaRequest
from tmrl_ros.vla.lora import LoraLinear, add_lora, merge_lora
from tmrl_ros.vla.objective import draw_timesteps
from tmrl_ros.vla.training_data import load_data

SUCCESS, FAILURE = EpisodeOutcome.SUCCESS, EpisodeOutcome.FAILURE
STEPS = 40
QUICK = (
    "task=lift",
    f"vla.steps={STEPS}",
    "vla.batch_size=8",
    "vla.learning_rate=0.003",
    "vla.device=cpu",
    "vla.checkpoint_every=10",
)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Three demonstrations in real bags, one of which failed."""
    folder = tmp_path_factory.mktemp("session")
    bags, numbers = open_bags(folder), {}
    for index, outcome in enumerate([SUCCESS, FAILURE, SUCCESS]):
        for piece in story(index, outcome, decisions=4):
            if isinstance(piece, Chunk) and piece.source is ChunkSource.POLICY:
                piece = replace(piece, source=ChunkSource.HUMAN)
            put(bags, item(piece), numbers)
    bags.close()
    return folder


def settings(base, out, *more):
    return load_config([*QUICK, f"vla.model={base}", f"vla.out={out}", *more])


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def train(base, session, out, *more, losses=None):
    from tmrl_ros.vla.checkpoint_files import Deployment
    from tmrl_ros.vla.finetune import FineTuning, join

    config = settings(base, out, *more)
    data = load_data(session, config, 8)
    deployment = Deployment(name="mine", action_space="cartesian_relative", control_rate_hz=20.0)
    run = FineTuning(base, data, config.vla, deployment, join("cpu"))
    run.run(out, (lambda step, loss: losses.append(loss)) if losses is not None else None)
    return run


@pytest.mark.parametrize("what", ["expert", "lora"])
def test_the_loss_goes_down_and_the_checkpoint_is_served(
    checkpoints, kind, what, session, tmp_path
):
    from tmrl_ros.vla.load import load_model

    losses = []
    out = tmp_path / "mine"
    train(checkpoints[kind], session, out, f"vla={what}", losses=losses)
    assert len(losses) == STEPS
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8]), losses
    before, after = weights(checkpoints[kind]), weights(out)
    vlm = [name for name in before if ".paligemma." in name or ".vlm." in name]
    frozen = all(torch.equal(before[name], after[name]) for name in vlm)
    assert len(vlm) > 10 and frozen == (what == "expert")
    vision = [name for name in vlm if "vision" in name]
    assert vision and all(torch.equal(before[name], after[name]) for name in vision)
    assert not any("lora" in name for name in after) and after.keys() == before.keys()
    model = load_model(out, "cpu")
    assert model.spec.cameras == ("exterior", "wrist") and model.spec.name == "mine"
    picture = {name: np.zeros((8, 8, 3), np.uint8) for name in model.spec.cameras}
    state = np.array([0.5, 0.0, 0.2, 1.0], np.float32)
    chunks = model.infer(VlaRequest(picture, state, "lift", context_seed=1)).actions
    assert chunks.shape == (1, 8, 4) and np.isfinite(chunks).all()
    with torch.inference_mode():
        times = model.sampler.smoothing.context_time(torch.tensor([0.2, 0.9]))
    assert not torch.equal(times[0], times[1])


def test_statistics_are_those_of_the_demonstrations(checkpoints, session, tmp_path):
    run = train(checkpoints["smolvla"], session, tmp_path / "a", "vla.steps=1")
    scaled = run._actions.reshape(-1, 4)
    assert scaled.mean(0).abs().max() < 0.05
    assert run.data.demonstrations == 2, "a failure is not demonstrated"
    assert run.data.prompts == ["lift the red cube"] * len(run.data.state)
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    assert report["samples"] == len(run.data.state) == 8


class PowerCutError(Exception):
    """Power is gone."""


def test_a_run_that_was_interrupted_ends_as_one_that_was_not(checkpoints, session, tmp_path):
    from tmrl_ros.vla.finetune import FineTuning

    base = checkpoints["pi0"]
    train(base, session, tmp_path / "whole")
    original = FineTuning._update

    def until_25(self, module):
        if self.step == 25:
            raise PowerCutError
        return original(self, module)

    FineTuning._update = until_25
    try:
        with pytest.raises(PowerCutError):
            train(base, session, tmp_path / "parts")
    finally:
        FineTuning._update = original
    index = tmp_path / "parts" / ".training" / "training.json"
    assert json.loads(index.read_text())["step"] == 20
    again = []
    train(base, session, tmp_path / "parts", losses=again)
    assert len(again) == 20, "it went on from the checkpoint"
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    with pytest.raises(OperatorError, match="other settings"):
        train(base, session, tmp_path / "parts", "vla.seed=5")


def test_two_processes_train_one_model(checkpoints, session, tmp_path):
    out = tmp_path / "two"
    command = ["-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={free_port()}"]
    words = [*QUICK, "policy=vla", f"vla.model={checkpoints['smolvla']}", f"vla.out={out}"]
    words += ["--demonstrations", str(session), "vla.steps=6"]
    found = subprocess.run(
        [sys.executable, *command, "-m", "tmrl_ros.vla.pretrain", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    report = json.loads((out / "report.json").read_text())
    assert report["processes"] == 2 and np.isfinite(report["loss"])
    assert found.stdout.count("Wrote") == 1, "one of them writes"
    before, after = weights(checkpoints["smolvla"]), weights(out)
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_data_set_of_lerobot_gives_the_same_rows(session, tmp_path):
    out = tmp_path / "exported"
    assert tmrl(["bag", "export", str(session), "--lerobot", str(out), "--lossless"]) == 0
    config = load_config(["task=lift"])
    bags, rows = load_data(session, config, 8), load_data(out, config, 8)
    assert np.allclose(bags.state, rows.state, atol=1e-5)
    assert np.allclose(bags.actions, rows.actions, atol=1e-5)
    assert all(
        np.array_equal(a["wrist"], b["wrist"])
        for a, b in zip(bags.images, rows.images, strict=True)
    )


def test_what_does_not_fit_is_refused_before_it_is_loaded(checkpoints, session, tmp_path, capsys):
    base = checkpoints["pi0"]
    words = [*QUICK, f"vla.model={base}", f"vla.out={tmp_path / 'x'}", "vla.batch_size=100000000"]
    assert pretrain.main([*words, "policy=vla", "--demonstrations", str(session)]) == 2
    told = capsys.readouterr()
    assert "GiB free on cpu" in told.err and "lower vla.batch_size" in told.err
    assert "Memory of one process" in told.out and not (tmp_path / "x").exists()


def test_memory_counts_the_weights_of_the_file(checkpoints):
    from tmrl_ros.vla.memory import estimate

    for kind, folder in checkpoints.items():
        total = sum(value.numel() for value in weights(folder).values())
        of = {
            what: estimate(folder / "model.safetensors", kind, 8, 2, VlaTrainingConfig(train=what))
            for what in ("expert", "lora")
        }
        assert of["expert"].weights == of["lora"].weights == 4 * total
        assert of["lora"].optimiser < of["expert"].optimiser < 8 * total
        assert of["expert"].gradients > 0 and of["lora"].gradients > 0


def test_without_a_model_or_pictures_it_is_one_sentence(tmp_path, capsys):
    assert pretrain.main(["task=lift", "policy=vla"]) == 2
    assert "vla.model is empty" in capsys.readouterr().err


def test_timesteps_of_training_are_exact_at_both_ends():
    drawn = draw_timesteps(20_000, VlaTrainingConfig(), torch.Generator().manual_seed(0))
    assert 0.23 < (drawn == 0).float().mean() < 0.27
    assert 0.04 < (drawn == 1).float().mean() < 0.06
    between = drawn[(drawn > 0) & (drawn < 1)]
    assert abs(float(between.mean()) - 0.5) < 0.02


def test_low_rank_parts_change_nothing_at_first_and_merge_exactly():
    torch.manual_seed(0)
    layers = {"q_proj": torch.nn.Linear(6, 5), "other": torch.nn.Linear(6, 5)}
    model = torch.nn.ModuleDict({"attention": torch.nn.ModuleDict(layers)})
    x = torch.randn(3, 6)
    before = layers["q_proj"](x)
    assert add_lora(model, ("attention",), rank=2, alpha=4.0) == 1
    wrapped = model["attention"]["q_proj"]
    assert isinstance(wrapped, LoraLinear) and torch.equal(wrapped(x), before)
    torch.nn.init.normal_(wrapped.lora_b)
    after = wrapped(x)
    merge_lora(model)
    assert type(model["attention"]["q_proj"]) is torch.nn.Linear
    assert torch.allclose(model["attention"]["q_proj"](x), after, atol=1e-6)
    assert not torch.allclose(after, before)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
