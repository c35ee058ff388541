"""How a vision-language-action model is fine-tuned (`tmrl pretrain policy=vla`)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from tmrl_ros.core.section import Section


class VlaTrainingConfig(Section):
    """Fine-tuning of a VLA with context smoothing; its vision-language model stays frozen."""

    model: Path | None = Field(None, description="LeRobot checkpoint to begin with, or owner/name")
    out: Path | None = Field(None, description="new checkpoint; default: bundles/<task>_vla")
    train: Literal["expert", "lora"] = Field(
        "expert", description="the action expert, or low-rank additions to both transformers"
    )
    lora_rank: int = Field(16, ge=1, le=256)
    lora_alpha: float = Field(16.0, gt=0)
    smooth_state: bool = Field(True, description="noise the state where it is in the prefix")
    precise_fraction: float = Field(0.25, ge=0, le=1, description="of samples with t_context = 0")
    marginal_fraction: float = Field(0.05, ge=0, le=1, description="of samples with t_context = 1")
    steps: int = Field(30_000, ge=1)
    batch_size: int = Field(8, ge=1, description="of one process")
    learning_rate: float = Field(2.5e-5, gt=0)
    warmup_steps: int = Field(1000, ge=0)
    weight_decay: float = Field(1e-10, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    checkpoint_every: int = Field(1000, ge=1)
    processes: int = Field(1, ge=1, le=64, description="of torchrun on this machine, one per GPU")
    device: str = Field("auto", description="auto, cpu or cuda")
    memory_fraction: float = Field(0.9, gt=0, le=1, description="of free memory that may be used")
    seed: int = Field(0, ge=0, lt=2**31)
