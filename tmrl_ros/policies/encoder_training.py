"""Train an observation encoder: keypoints from which a policy can act and a grasp can be foretold.

Two losses, both on what demonstrations hold anyway:

* the flow-matching loss of a policy that sees the scene through the keypoints alone;
* hindsight: for every observation the tool's position when the gripper closed for the last time
  (and opened again, if it did) is foretold as one of the keypoints, plus a constant offset. Places
  where a gripper acts are where the objects are (keyframes, arXiv 2105.14829). The flow loss alone
  hardly moves the keypoints: most of a chunk follows from where the arm is.

The policy learned here is thrown away. What is kept, and frozen, is where the keypoints are; a
policy is then pre-trained with context smoothing on them as on named objects.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from tmrl_ros.core.types import Float32Array
from tmrl_ros.data.decode import BoolArray
from tmrl_ros.policies.demonstrations import ControlSteps
from tmrl_ros.policies.flow import FlowPolicy, FlowSize
from tmrl_ros.policies.keypoints import KeypointEncoder, Looks

EVENTS = 2
"""The gripper's last closing, and its opening after that."""
NEAR_M = 0.02
"""Errors of what is foretold are squared below this, linear above it."""
OFFSET_SCALE_M = 0.1
MIN_SPREAD_M = 0.01
SPREAD_DECAY = 0.99
Encoder = TypeVar("Encoder", bound=KeypointEncoder)


@dataclass(frozen=True)
class EncoderData:
    """N observations: how they look, and what is known besides.

    `known` (N, C) the rest of the context, normalised: prompt and arm; `actions` (N, H, 4) chunks,
    normalised; `acted` (N, 2, 3) where the gripper was to act, m, and whether it was (N, 2).
    """

    looks: Looks
    known: Tensor
    actions: Tensor
    acted: Tensor
    did_act: Tensor


@dataclass(frozen=True)
class EncoderSettings:
    """Optimiser settings; the seed decides initial weights, batches and noise."""

    iterations: int = 800
    batch_size: int = 48
    learning_rate: float = 2e-3
    ema_decay: float = 0.99
    seed: int = 0


def gripper_acts(steps: ControlSteps) -> tuple[Float32Array, BoolArray]:
    """Where the gripper is to act, for every observation of a demonstration.

    Returns:
        Tool positions (N, 2, 3), m, at the last closing and at the opening after it, and whether
        they are still to come (N, 2).
    """
    closed = steps.chunks[:, 0, 3] < 0.5
    closings = np.flatnonzero(closed[1:] & ~closed[:-1]) + 1
    openings = np.flatnonzero(closed[:-1] & ~closed[1:]) + 1
    at = np.zeros((len(steps.starts), EVENTS, 3), np.float32)
    to_come = np.zeros((len(steps.starts), EVENTS), bool)
    last = closings[-1] if len(closings) else len(closed)
    for event, when in enumerate((closings[-1:], openings[openings > last][-1:])):
        for step in when:
            at[:, event] = steps.states[step, :3]
            to_come[:, event] = steps.starts <= step
    return at, to_come


class Foretelling(nn.Module):
    """Which keypoint the gripper will act at, and how far from it."""

    def __init__(self, known: int, keypoints: int, width: int = 32) -> None:
        super().__init__()
        self.choose = nn.Sequential(
            nn.Linear(known, width), nn.ReLU(), nn.Linear(width, EVENTS * keypoints)
        )
        self.offset = nn.Parameter(torch.zeros(EVENTS, 3))

    def forward(self, known: Tensor, keypoints: Tensor) -> Tensor:
        """(B, C), (B, K, 3) m -> (B, 2, 3) m."""
        scores = self.choose(known).reshape(len(known), EVENTS, -1)
        foretold: Tensor = torch.softmax(scores, -1) @ keypoints + OFFSET_SCALE_M * self.offset
        return foretold

    def loss(self, data: EncoderData, rows: Tensor, keypoints: Tensor) -> Tensor:
        """Error of what is still to come."""
        error = (self(data.known[rows], keypoints) - data.acted[rows]) / NEAR_M
        each = nn.functional.smooth_l1_loss(error, torch.zeros_like(error), reduction="none")
        counts = data.did_act[rows].float()
        return (each.mean(-1) * counts).sum() / counts.sum().clamp(min=1.0)


class Spread:
    """Running mean and standard deviation of keypoints (K, 3), to normalise them by."""

    def __init__(self) -> None:
        self._mean = self._square = torch.zeros(0)

    def normalise(self, keypoints: Tensor) -> Tensor:
        """Keypoints (B, K, 3) in m, normalised; updates what is known of their spread."""
        mean, square = keypoints.detach().mean(0), (keypoints.detach() ** 2).mean(0)
        if not len(self._mean):
            self._mean, self._square = mean, square
        self._mean = torch.lerp(mean, self._mean, SPREAD_DECAY)
        self._square = torch.lerp(square, self._square, SPREAD_DECAY)
        variance = torch.clamp(self._square - self._mean**2, min=MIN_SPREAD_M**2)
        return (keypoints - self._mean) / torch.sqrt(variance)


def train_encoder(
    encoder: Encoder,
    data: EncoderData,
    settings: EncoderSettings,
    progress: Callable[[int, float], None] | None = None,
) -> Encoder:
    """Train and return the exponential moving average of the encoder's weights.

    Args:
        encoder: From what `data.looks` gives to keypoints (B, K, 3) in m; trained in place.
        data: The observations.
        settings: Optimiser settings.
        progress: Called with (iteration, smoothed loss) every hundred iterations.
    """
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed + 1)
    keypoints = encoder.keypoints
    known, (_, horizon, actions) = data.known.shape[1], data.actions.shape
    policy = FlowPolicy(FlowSize(horizon, actions, known + 3 * keypoints), torch.zeros(1))
    foretelling = Foretelling(known, keypoints)
    average = copy.deepcopy(encoder).requires_grad_(False)
    networks = (encoder, policy, foretelling)
    parameters = [weight for network in networks for weight in network.parameters()]
    optimiser = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, weight_decay=1e-6, betas=(0.95, 0.999), fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.iterations, pct_start=0.1
    )
    spread, running = Spread(), 0.0
    for iteration in range(1, settings.iterations + 1):
        rows = torch.randint(len(data.actions), (settings.batch_size,), generator=generator)
        found = encoder(*data.looks.look(rows, generator))
        context = torch.cat([data.known[rows], spread.normalise(found).flatten(1)], -1)
        flow = policy.loss(data.actions[rows], context, generator)
        loss = flow + foretelling.loss(data, rows, found)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        decay = min(settings.ema_decay, (1 + iteration) / (10 + iteration))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(encoder.parameters()), 1 - decay)
        running = loss.item() if iteration == 1 else 0.98 * running + 0.02 * loss.item()
        if progress and (iteration % 100 == 0 or iteration == settings.iterations):
            progress(iteration, running)
    return average.eval()
