"""The settings of fine-tuning methods, with units and ranges; `methods.py` says what each needs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tmrl_ros.core.methods import METHODS, Capability, MethodName
from tmrl_ros.core.section import Section


class MethodConfig(Section):
    """How the policy is fine-tuned, or not (`base`), or what demonstrates (`scripted`, `person`).

    `tmrl` chooses among chunks of several action noises and context timesteps by critics of the
    motion, `expo` among samples and learned edits of them, `vgps` among the frozen policy's own
    samples; `dsrl` has an actor for the noise, `tmrl_paper` for noise, timestep and context noise,
    `rlpd` for the motion itself.
    """

    name: MethodName = "tmrl"
    warmup_episodes: int = Field(20, ge=0)
    updates_per_decision: float = Field(10.0, ge=0, le=100)
    batch_size: int = Field(128, ge=8, le=4096)
    hidden: int = Field(128, ge=16, le=2048)
    critics: int = Field(5, ge=2, le=20)
    discount: float = Field(0.95, gt=0, lt=1, description="per decision")
    learning_rate: float = Field(1e-3, gt=0, le=0.1)
    actor_learning_rate: float = Field(3e-4, gt=0, le=0.1)
    target_tau: float = Field(0.01, gt=0, le=1)
    actor_every: int = Field(2, ge=1, le=100)
    initial_temperature: float = Field(0.01, gt=0)
    z_bound: float = Field(1.5, gt=0, le=5)
    warmup_z_std: float = Field(0.5, gt=0, le=3, description="of the repeated noise in warm-up")
    success_fraction: float = Field(0.25, ge=0, le=1, description="of a batch from successes")
    candidates: int = Field(64, ge=2, le=1024, description="chunks per decision to choose from")
    t_max: float = Field(1.0, ge=0, le=1, description="highest context timestep when steered")
    candidate_z_std: float = Field(0.8, gt=0, le=3, description="of the candidates' noise")
    edit_m: float = Field(0.02, ge=0, le=0.1, description="tmrl: spread of shifts of candidates")
    shift_m: float = Field(
        0.15, ge=0, le=1, description="of plans' critics: batches are moved over the table by this"
    )
    optimism: float = Field(1.0, ge=0, le=10, description="critics' spread, when training")
    pessimism: float = Field(1.0, ge=0, le=10, description="critics' spread, in targets")
    held_exploration: float = Field(
        0.0, ge=0, le=1, description="share of the exploration noise's variance held all episode"
    )
    rerank_samples: int = Field(
        0, ge=0, le=1024, description="choices to make and re-rank by value; 0 = the method's own"
    )
    rerank_temperature: float = Field(
        0.0, ge=0, le=100, description="re-rank by softmax(value / this); 0 = take the best"
    )
    reward: Literal["success", "potential", "difference", "progress"] = Field(
        "success", description="what becomes of the reward model's progress: learning/goals.py"
    )
    progress_weight: float = Field(
        0.5, ge=0, le=1, description="of progress in potential and difference"
    )
    prior_fraction: float = Field(
        0.5, ge=0, le=1, description="rlpd: of a batch from demonstrations and warm-up"
    )
    target_critics: int = Field(2, ge=1, le=20, description="rlpd: critics a target is least of")
    step_m: float = Field(
        0.04, gt=0, le=0.2, description="rlpd: longest move per axis in a quarter of a chunk"
    )
    capacity: int = Field(20_000, ge=100)
    checkpoint_every_episodes: int = Field(10, ge=1)

    @model_validator(mode="after")
    def _parts_agree(self) -> MethodConfig:
        if self.rerank_samples and not self.learns:
            raise ValueError(
                f"method.rerank_samples={self.rerank_samples} needs critics, {self.name} has none: "
                "take method=vgps, which is the frozen policy re-ranked"
            )
        if self.name == "vgps" and self.rerank_samples < 2:
            raise ValueError(
                f"vgps chooses among samples: method.rerank_samples={self.rerank_samples} must be "
                "2 or more"
            )
        if self.name == "tmrl_paper" and self.reward != "success":
            raise ValueError(f"method.reward={self.reward}: tmrl_paper knows success alone")
        if self.name == "rlpd" and self.target_critics > self.critics:
            raise ValueError(
                f"method.target_critics={self.target_critics} is above critics={self.critics}"
            )
        return self

    @property
    def learns(self) -> bool:
        """Whether the method fine-tunes anything."""
        return METHODS[self.name].learns

    @property
    def judges_noise(self) -> bool:
        """Whether critics judge z, which an episode of the base policy does not have."""
        return METHODS[self.name].judges == "noise"

    @property
    def steers_context(self) -> bool:
        """Whether the method chooses the context timestep."""
        return Capability.CONTEXT_TIMESTEP in METHODS[self.name].needs

    @property
    def samples(self) -> int:
        """Chunks that are made of the policy for one decision."""
        if Capability.BATCH not in METHODS[self.name].needs:
            return 1
        return self.rerank_samples or self.candidates
