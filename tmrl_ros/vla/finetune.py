"""Fine-tune a VLA with context smoothing, in one process or one per GPU."""

from __future__ import annotations

import copy
import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.vla_config import VlaTrainingConfig
from tmrl_ros.vla import checkpoint_files as files
from tmrl_ros.vla.backbone import IMAGES
from tmrl_ros.vla.building import SIZES_FILE, TOKENIZER_FOLDER, VLM_FOLDER
from tmrl_ros.vla.load import Parts, assemble, read_config, spec_of
from tmrl_ros.vla.lora import merge_lora
from tmrl_ros.vla.memory import MemoryEstimate, check_memory, estimate
from tmrl_ros.vla.model import LerobotVla
from tmrl_ros.vla.objective import CspObjective, draw_timesteps
from tmrl_ros.vla.processing import Scale
from tmrl_ros.vla.sampling import Sampler
from tmrl_ros.vla.trainable import prepare
from tmrl_ros.vla.training_data import VlaData
from tmrl_ros.vla.training_state import load_state, save_state, trained

LAST_RATE = 0.1  # of the learning rate, at the end of the cosine
RUN_FOLDER = ".training"
Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Process:
    """One of the processes of a training."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0


def join(device: str) -> Process:
    """Join the other processes that torchrun has started, if it has."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    gpu = device != "cpu" and torch.cuda.is_available()
    if device.startswith("cuda") and not gpu:
        raise OperatorError(f"vla.device={device}: torch sees no GPU here; use vla.device=cpu.")
    where = torch.device(f"cuda:{local}" if gpu else "cpu")
    if count > 1 and not dist.is_initialized():
        if gpu:
            torch.cuda.set_device(where)
        dist.init_process_group("nccl" if gpu else "gloo")
    return Process(int(os.environ.get("RANK", "0")), count, where)


class FineTuning:
    """A run: base checkpoint and data in, steps, a new checkpoint out."""

    def __init__(
        self,
        base: Path,
        data: VlaData,
        settings: VlaTrainingConfig,
        deployment: files.Deployment,
        process: Process,
    ) -> None:
        """Load the base with the data's cameras, sizes and statistics.

        Raises:
            OperatorError: It does not fit into memory, or is no checkpoint.
        """
        self.data, self.settings, self.process = data, settings, process
        self.memory = _check(base, data, settings, process)
        torch.manual_seed(settings.seed)
        csp = files.CspSettings(smooth_state=settings.smooth_state, trained=True)
        self.deployment = deployment.model_copy(update={"csp": csp})
        self.parts = _parts(base, data, self.deployment, process.device)
        prepare(self.parts.policy, settings.train, settings.lora_rank, settings.lora_alpha)
        self.step = 0
        objective = CspObjective(
            self.parts.policy,
            self.parts.backbone,
            self.parts.smoothing,
            data.actions.shape[-1],
        )
        self.objective = objective.to(process.device)
        self._optimiser = torch.optim.AdamW(
            list(trained(objective).values()),
            lr=settings.learning_rate,
            betas=(0.9, 0.95),
            weight_decay=settings.weight_decay,
        )
        self._reader = LerobotVla(
            spec_of(self.parts),
            Sampler(self.parts.backbone, self.parts.smoothing),
            self.parts.tokenizer,
            self.parts.scales,
            process.device,
        )
        self._actions = self.parts.scales[files.ACTION].apply(torch.from_numpy(data.actions))
        self._identity = {
            "settings": _kept(settings),
            "base": files.sha256(base / files.WEIGHTS),
            "data": data.sha256,
            "processes": process.count,
        }

    def run(self, out: Path, progress: Progress | None = None) -> None:
        """Train to the end, going on where an earlier run of the same settings stopped.

        Args:
            out: Where the new checkpoint goes, and the run's own below `.training`.
            progress: Called with (step, loss of that step) in the first process.

        Raises:
            OperatorError: What is in `out` is of another run, or the loss is no number.
        """
        folder = out / RUN_FOLDER
        found = load_state(folder, self.objective, self._optimiser, self._identity)
        self.step = int(found["step"]) if found else 0
        running = float(found["loss"]) if found else math.nan
        module = self._distributed()
        while self.step < self.settings.steps:
            loss = self._update(module)
            if not math.isfinite(loss):
                raise OperatorError(
                    f"The loss of step {self.step} is {loss}: lower vla.learning_rate and start "
                    "again; the last checkpoint is untouched."
                )
            running = loss if math.isnan(running) else 0.98 * running + 0.02 * loss
            if progress and self.process.first:
                progress(self.step, loss)
            last = self.step == self.settings.steps
            if self.process.first and (last or self.step % self.settings.checkpoint_every == 0):
                values = {"step": self.step, "loss": running, "identity": self._identity}
                save_state(folder, self.objective, self._optimiser, values)
        if self.process.first:
            self._write(out, running)
        if self.process.count > 1:
            dist.barrier()

    def _distributed(self) -> nn.Module:
        if self.process.count == 1:
            return self.objective
        ids = [self.process.device.index] if self.process.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(
            self.objective, device_ids=ids, find_unused_parameters=True
        )

    def _update(self, module: nn.Module) -> float:
        """One step of the optimiser; returns the loss, averaged over processes."""
        settings = self.settings
        generator = _generator(settings.seed, self.step, self.process.rank)
        rows = torch.randint(len(self._actions), (settings.batch_size,), generator=generator)
        t_context = draw_timesteps(settings.batch_size, settings, generator)
        device = self.process.device
        for group in self._optimiser.param_groups:
            group["lr"] = rate(self.step, settings)
        module.train()
        actions = self._actions[rows].to(device)
        loss = module(self._observations(rows), actions, t_context.to(device), generator)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(list(trained(self.objective).values()), settings.clip_norm)
        self._optimiser.step()
        self.step += 1
        mean = loss.detach()
        if self.process.count > 1:
            dist.all_reduce(mean)
            mean = mean / self.process.count
        return float(mean)

    def _observations(self, rows: Tensor) -> dict[str, Tensor]:
        data, chosen = self.data, rows.tolist()
        return self._reader.batch(
            [data.images[row] for row in chosen],
            data.state[chosen],
            [data.prompts[row] for row in chosen],
        )

    def _write(self, out: Path, loss: float) -> None:
        """Write a checkpoint that can be served: LeRobot's files, with low-rank parts merged."""
        policy = self.parts.policy
        if self.settings.train == "lora":
            policy = copy.deepcopy(policy)
            merge_lora(policy)
        files.write_checkpoint(out, policy, self.data.statistics(), self.deployment)
        files.write_smoothing(out, self.parts.smoothing.state_dict())
        for name in (TOKENIZER_FOLDER, VLM_FOLDER):
            if (self.parts.folder / name).is_dir() and self.parts.folder != out:
                shutil.copytree(self.parts.folder / name, out / name, dirs_exist_ok=True)
        if (self.parts.folder / SIZES_FILE).is_file() and self.parts.folder != out:
            shutil.copy(self.parts.folder / SIZES_FILE, out / SIZES_FILE)
        self.parts.tokenizer.save_pretrained(out / TOKENIZER_FOLDER)
        report = {
            "loss": loss,
            "memory_bytes": asdict(self.memory),
            "demonstrations": self.data.demonstrations,
            "samples": len(self.data.state),
            "prompts": sorted(set(self.data.prompts)),
            **self._identity,
        }
        (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")


def rate(step: int, settings: VlaTrainingConfig) -> float:
    """Learning rate: a linear warm-up, then a cosine to a tenth."""
    warm = min(settings.warmup_steps, settings.steps // 10)
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    share = (step - warm) / max(1, settings.steps - warm)
    cosine = 0.5 * (1 + math.cos(math.pi * share))
    return settings.learning_rate * (LAST_RATE + (1 - LAST_RATE) * cosine)


def _generator(seed: int, step: int, rank: int) -> torch.Generator:
    """Of one step of one process; products of primes keep them apart."""
    return torch.Generator().manual_seed(seed * 2_654_435_761 + step * 65_537 + rank)


def _kept(settings: VlaTrainingConfig) -> dict[str, Any]:
    """Settings that decide the result; where and how often is not among them."""
    outside = {"out", "device", "checkpoint_every", "memory_fraction", "processes"}
    kept: dict[str, Any] = json.loads(settings.model_dump_json(exclude=outside))
    return kept


def _check(
    base: Path, data: VlaData, settings: VlaTrainingConfig, process: Process
) -> MemoryEstimate:
    config = read_config(base)
    found = estimate(
        base / files.WEIGHTS,
        str(config.type),
        int(config.chunk_size),
        len(data.cameras),
        settings,
    )
    if process.first:
        print(found.sentence(), flush=True)
    shared = process.count if process.device.type == "cpu" else 1  # a GPU is nobody else's
    whole = replace(found, **{key: shared * value for key, value in asdict(found).items()})
    check_memory(whole, process.device, settings.memory_fraction)
    return found


def _parts(base: Path, data: VlaData, deployment: files.Deployment, device: torch.device) -> Parts:
    """The base, looking at the data's cameras and acting in the data's units."""
    from lerobot.configs.types import FeatureType, PolicyFeature

    config = read_config(base)
    height, width = data.images[0][data.cameras[0]].shape[:2]
    config.input_features = {
        IMAGES + name: PolicyFeature(type=FeatureType.VISUAL, shape=(3, height, width))
        for name in data.cameras
    }
    sizes = {files.STATE: data.state.shape[-1], files.ACTION: data.actions.shape[-1]}
    state = PolicyFeature(type=FeatureType.STATE, shape=(sizes[files.STATE],))
    action = PolicyFeature(type=FeatureType.ACTION, shape=(sizes[files.ACTION],))
    config.input_features[files.STATE] = state
    config.output_features = {files.ACTION: action}
    config.empty_cameras = 0
    for key in ("max_state_dim", "max_action_dim"):
        size = sizes[files.STATE if "state" in key else files.ACTION]
        if getattr(config, key) < size:
            raise OperatorError(f"{base}: {key} is {getattr(config, key)}, the data has {size}.")
    modes = {key: files.mode_name(value) for key, value in config.normalization_mapping.items()}
    statistics = data.statistics()
    scales = {
        key: Scale.from_statistics(modes[kind], vars(statistics[key]), sizes[key])
        for key, kind in ((files.STATE, "STATE"), (files.ACTION, "ACTION"))
    }
    return assemble(base, config, scales, deployment, device)
