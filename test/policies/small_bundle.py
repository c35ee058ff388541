"""A small untrained policy, written as a bundle."""

from pathlib import Path

import torch

from tmrl_ros.policies.bundle import (
    ActionSpec,
    ContextSmoothing,
    NetworkSpec,
    ObservationSpec,
    PolicySpec,
    TrainingRecord,
    save_bundle,
)
from tmrl_ros.policies.flow import FlowPolicy


def make_bundle(folder: Path, **action: object) -> PolicySpec:
    """A small untrained policy for the lift task."""
    values = {"frame": "panda_link0", "rate_hz": 20.0, "horizon": 8, "execute_steps": 8}
    spec = PolicySpec(
        action=ActionSpec(**{**values, "mean": [[0.0] * 4] * 8, "std": [[1.0] * 4] * 8, **action}),
        observation=ObservationSpec(objects=["red"], prompt_size=0, mean=[0.0] * 7, std=[1.0] * 7),
        smoothing=ContextSmoothing(smoothed=["objects"]),
        network=NetworkSpec(width=32, blocks=1, context_hidden=32, flow_steps=4),
        training=TrainingRecord(
            command="",
            task="lift",
            demonstrations=0,
            samples=0,
            iterations=0,
            seed=0,
            data_sha256="",
            prompts=[],
        ),
        weights_sha256="",
    )
    torch.manual_seed(0)
    policy = FlowPolicy(spec.flow_size, torch.from_numpy(spec.context.smoothed_mask()))
    return save_bundle(folder, spec, policy)
