"""Train a reward network on labelled episodes: every step sees some episodes in many orders."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from tmrl_ros.policies.prompt import embed_prompt
from tmrl_ros.rewards.learned.augment import augment
from tmrl_ros.rewards.learned.clips import KINDS, SHARES, draw_clip, pad
from tmrl_ros.rewards.learned.episodes import LabelledEpisode, Video
from tmrl_ros.rewards.learned.model import ModelSize, RewardNetwork, two_hot
from tmrl_ros.rewards.learned.preferences import PairSampler

DULL = 0.3
"""How often clips are drawn from episodes that never come near success, against all others."""
NEAR = 0.5
"""Failing frames with more progress than this are the hard ones: half of all failures' weight."""


@dataclass(frozen=True)
class TrainingSettings:
    """How long and on what; the seed decides weights, batches and augmentation."""

    steps: int = 800
    videos_per_step: int = 12
    clips_per_step: int = 112
    pairs_per_step: int = 40
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    ema_decay: float = 0.98
    success_weight: float = 1.0
    preference_weight: float = 1.0
    seed: int = 0


@dataclass
class Losses:
    """Smoothed losses, for whoever watches."""

    progress: float = 0.0
    success: float = 0.0
    preference: float = 0.0
    _steps: int = field(default=0, repr=False)

    def update(self, progress: float, success: float, preference: float) -> None:
        """Take the losses of one step."""
        self._steps += 1
        keep = min(0.97, 1 - 1 / self._steps)
        for name, value in (
            ("progress", progress),
            ("success", success),
            ("preference", preference),
        ):
            setattr(self, name, keep * getattr(self, name) + (1 - keep) * value)


class PromptTable:
    """Embeddings of texts, each computed once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: dict[str, Tensor] = {}

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(len(texts), size)."""
        for text in texts:
            if text not in self._known:
                self._known[text] = torch.from_numpy(embed_prompt(text, self._size))
        return torch.stack([self._known[text] for text in texts])


def train(
    episodes: Sequence[LabelledEpisode],
    size: ModelSize,
    settings: TrainingSettings,
    progress: Callable[[int, Losses], None] | None = None,
) -> RewardNetwork:
    """Train from scratch; returns the exponential moving average of the weights.

    One step encodes all frames of some videos once, augmented, and learns from many clips and pairs
    of them. Progress and success losses are means over frames, truly class-balanced, which the
    released Robometer's are not (its trainer divides by the weight again).

    Args:
        episodes: At least one that succeeds and one that does not.
        size: Sizes of the network.
        settings: See there.
        progress: Called after every 20th step.
    """
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed + 1)
    rng = np.random.default_rng(settings.seed)
    network = RewardNetwork(size)
    average = copy.deepcopy(network).requires_grad_(False)
    optimiser = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.steps, pct_start=0.1
    )
    batches = _Batches(episodes, size, settings, rng, generator)
    losses = Losses()
    for step in range(1, settings.steps + 1):
        parts = batches.losses(network)
        loss = parts[0] + settings.success_weight * parts[1] + settings.preference_weight * parts[2]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        decay = min(settings.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
        losses.update(*(part.item() for part in parts))
        if progress and (step % 20 == 0 or step == settings.steps):
            progress(step, losses)
    return average.eval()


class _Batches:
    """Draws the videos of a step and computes its losses."""

    def __init__(
        self,
        episodes: Sequence[LabelledEpisode],
        size: ModelSize,
        settings: TrainingSettings,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> None:
        self._size, self._settings = size, settings
        self._rng, self._generator = rng, generator
        self._table = PromptTable(size.prompt_size)
        self._videos: list[Video] = []
        self._by_video: list[list[LabelledEpisode]] = []
        places: dict[int, int] = {}
        for episode in episodes:
            place = places.setdefault(id(episode.video), len(places))
            if place == len(self._videos):
                self._videos.append(episode.video)
                self._by_video.append([])
            self._by_video[place].append(episode)
        succeed = [any(e.succeeds for e in group) for group in self._by_video]
        self._groups = [np.flatnonzero(succeed), np.flatnonzero(~np.array(succeed))]

    def losses(self, network: RewardNetwork) -> tuple[Tensor, Tensor, Tensor]:
        """Progress, success and preference loss of a new batch."""
        chosen = self._draw_videos()
        features, first = self._encode(network, chosen)
        episodes = [episode for number in chosen for episode in self._by_video[number]]
        offsets = [first[k] for k, number in enumerate(chosen) for _ in self._by_video[number]]
        frames = self._frame_losses(network, features, episodes, offsets)
        return *frames, self._preference_loss(network, features, episodes, offsets)

    def _draw_videos(self) -> list[int]:
        """Half with a success in them, if there are any, so that every step has both."""
        wanted, drawn = self._settings.videos_per_step, []
        for group, count in zip(self._groups, (wanted // 2, wanted - wanted // 2), strict=True):
            drawn += self._rng.choice(group, min(count, len(group)), replace=False).tolist()
        return drawn

    def _encode(self, network: RewardNetwork, chosen: list[int]) -> tuple[Tensor, list[int]]:
        """Features of all frames of the chosen videos (N, F), and where each video starts."""
        stacks, first, total = [], [], 0
        for number in chosen:
            frames = torch.from_numpy(self._videos[number].frames).movedim(-1, 2) / 255.0
            views = [augment(frames[:, i], self._generator) for i in range(frames.shape[1])]
            stacks.append(torch.stack(views, dim=1))
            first.append(total)
            total += len(frames)
        return network.encode(torch.cat(stacks)), first

    def _frame_losses(
        self,
        network: RewardNetwork,
        features: Tensor,
        episodes: list[LabelledEpisode],
        offsets: list[int],
    ) -> tuple[Tensor, Tensor]:
        weights = np.array([1.0 if _matters(item) else DULL for item in episodes])
        numbers = self._rng.choice(
            len(episodes), p=weights / weights.sum(), size=self._settings.clips_per_step
        )
        kinds = self._rng.choice(KINDS, p=SHARES, size=len(numbers))
        clips = [
            draw_clip(str(kind), len(episodes[n].video), self._size.clip, self._rng)
            for n, kind in zip(numbers, kinds, strict=True)
        ]
        rows, unused = pad(clips)
        at = torch.from_numpy(rows + np.array([offsets[n] for n in numbers])[:, None])
        prompts = self._table([str(self._rng.choice(episodes[n].prompts)) for n in numbers])
        bins, logits = network.judge(features[at], prompts)
        target = _gather([episodes[n].progress for n in numbers], rows)
        success = _gather([episodes[n].success for n in numbers], rows).float()
        known = _gather([episodes[n].success_known for n in numbers], rows).bool()
        used = ~torch.from_numpy(unused)
        return (
            progress_loss(bins, target, used),
            success_loss(logits, success, used & known, target),
        )

    def _preference_loss(
        self,
        network: RewardNetwork,
        features: Tensor,
        episodes: list[LabelledEpisode],
        offsets: list[int],
    ) -> Tensor:
        pairs = PairSampler(episodes, self._size.clip, self._rng).draw(
            self._settings.pairs_per_step
        )
        if not pairs or not self._settings.preference_weight:
            return torch.zeros(())
        swap = self._rng.uniform(size=len(pairs)) < 0.5
        sides = [
            (p.worse, p.better) if s else (p.better, p.worse)
            for p, s in zip(pairs, swap, strict=True)
        ]
        stacked, masks = [], []
        for which in (0, 1):
            rows, unused = pad([side[which].frames for side in sides], self._size.clip)
            at = rows + np.array([offsets[side[which].episode] for side in sides])[:, None]
            stacked.append(features[torch.from_numpy(at)])
            masks.append(torch.from_numpy(unused))
        prompts = self._table([pair.prompt for pair in pairs])
        logits = network.prefer(stacked[0], stacked[1], (masks[0], masks[1]), prompts)
        return bce(logits.clamp(-50, 50), torch.from_numpy(~swap).float())


def _matters(episode: LabelledEpisode) -> bool:
    """Whether an episode comes near success, or nobody knows."""
    return not float(episode.progress.max()) < NEAR  # NaN: not known


def progress_loss(bins: Tensor, target: Tensor, used: Tensor) -> Tensor:
    """Cross-entropy of logits (B, L, 10) with two-hot targets, mean over known frames."""
    used = used & ~target.isnan()
    if not used.any():
        return bins.sum() * 0.0
    targets = two_hot(target[used])
    return -(targets * bins[used].log_softmax(-1)).sum(-1).mean()


def success_loss(logits: Tensor, success: Tensor, used: Tensor, progress: Tensor) -> Tensor:
    """Class-balanced cross-entropy: successes weigh as much as all failures together.

    Of the failures' weight half goes to the near ones (progress above `NEAR`) if there are any.
    """
    near = used & (success == 0) & (progress.nan_to_num(0.0) >= NEAR)
    far = used & (success == 0) & ~near
    yes = used & (success == 1)
    each = bce(logits, success, reduction="none")
    weighted = [
        (each[group].mean(), w) for group, w in ((yes, 2.0), (near, 1.0), (far, 1.0)) if group.any()
    ]
    if not weighted:
        return logits.sum() * 0.0
    total = sum(weight for _, weight in weighted)
    return torch.stack([value * weight for value, weight in weighted]).sum() / total


def _gather(values: Sequence[np.ndarray], rows: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack([v[row] for v, row in zip(values, rows, strict=True)]))
