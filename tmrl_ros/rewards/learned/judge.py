"""The trained model at work: frame after frame of a running episode, or whole episodes at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tmrl_ros.core.types import Float32Array
from tmrl_ros.perception.images import shrink
from tmrl_ros.policies.prompt import embed_prompt
from tmrl_ros.rewards.learned.bundle import RewardSpec, load_bundle
from tmrl_ros.rewards.learned.clips import pad, spread
from tmrl_ros.rewards.learned.episodes import Frames
from tmrl_ros.rewards.learned.model import RewardNetwork, expected_progress
from tmrl_ros.rewards.model import Calibration, Image, Judgement, JudgementError


class LearnedReward:
    """A `RewardModel` from a bundle. Features of a frame are computed once, when it comes.

    A prompt that the model was not trained on is refused: its embedding knows spelling, not
    meaning, and would ground a new word by chance.
    """

    name = "learned"

    def __init__(self, spec: RewardSpec, network: RewardNetwork) -> None:
        self.spec, self._network = spec, network
        self.hash = spec.digest()
        self._known = {_plain(text) for row in spec.prompts for text in row}
        self._trouble = "no episode was begun"
        self._prompt = torch.zeros(1, spec.network.prompt_size)
        self._features: list[Tensor] = []

    @property
    def cameras(self) -> Sequence[str]:
        """Cameras in the order of `observe`."""
        return tuple(self.spec.cameras)

    @property
    def calibration(self) -> Calibration:
        """Its own measured rule for success."""
        rule = self.spec.calibration
        return Calibration(rule.threshold, rule.k, rule.n)

    def knows(self, prompt: str) -> bool:
        """Whether it was trained on this instruction; case and spacing do not matter."""
        return _plain(prompt) in self._known

    def begin_episode(self, prompt: str) -> None:
        """Forget all frames; what follows is an attempt at `prompt`."""
        self._features = []
        self._trouble = ""
        if not self.knows(prompt):
            known = ", ".join(repr(text) for row in self.spec.prompts for text in row)
            self._trouble = (
                f"the reward model was not trained on the prompt {prompt!r}; it knows {known}: "
                "train it with episodes of that prompt (`tmrl reward train`) or use one of these"
            )
            return
        self._prompt = torch.from_numpy(embed_prompt(prompt, self.spec.network.prompt_size))[None]

    def observe(self, images: list[Image]) -> Judgement:
        """Add the next frame and judge it.

        Args:
            images: One (h, w, 3) uint8 RGB image per camera, in the order of `cameras`.

        Raises:
            JudgementError: Unknown prompt, or images that do not fit.
        """
        start_s = time.perf_counter()
        if self._trouble:
            raise JudgementError(self._trouble)
        with torch.inference_mode():
            self._features.append(self._network.encode(_tensor(self._fit(images)[None])))
            chosen = spread(range(len(self._features)), self.spec.network.clip)
            clip = torch.cat([self._features[i] for i in chosen])[None]
            bins, logits = self._network.judge(clip, self._prompt)
            progress = float(expected_progress(bins[0, -1]))
            probability = float(logits[0, -1].sigmoid())
        latency_ms = (time.perf_counter() - start_s) * 1e3
        return Judgement(min(max(progress, 0.0), 1.0), probability, latency_ms)

    def _fit(self, images: list[Image]) -> Frames:
        """Images (cameras, h, w, 3) as the network wants them."""
        network = self.spec.network
        if len(images) != len(self.spec.cameras):
            raise JudgementError(
                f"{len(images)} images came, the reward model looks at {self.spec.cameras}"
            )
        for name, image in zip(self.spec.cameras, images, strict=True):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise JudgementError(
                    f"the image of {name} is {image.dtype} of shape {image.shape}, not RGB"
                )
        return np.stack([shrink(i, network.image_width, network.image_height) for i in images])


def load_reward_bundle(path: Path) -> LearnedReward:
    """Load a reward bundle.

    Raises:
        BundleError: A sentence that names the file and what is wrong with it.
    """
    return LearnedReward(*load_bundle(Path(path)))


def judge_frames(
    network: RewardNetwork, frames: Frames, prompts: Sequence[str]
) -> list[tuple[Float32Array, Float32Array]]:
    """Judge a whole video against several instructions, each frame as it would be judged live.

    Args:
        network: A trained network.
        frames: (T, cameras, h, w, 3) uint8.
        prompts: Instructions.

    Returns:
        Progress (T,) and success probability (T,) for each prompt.
    """
    with torch.inference_mode():
        features = network.encode(_tensor(frames))
        return judge_features(network, features, prompts)


def judge_features(
    network: RewardNetwork, features: Tensor, prompts: Sequence[str]
) -> list[tuple[Float32Array, Float32Array]]:
    """The same from features (T, F) of `RewardNetwork.encode`."""
    clips = [spread(range(end + 1), network.size.clip) for end in range(len(features))]
    rows, _ = pad(clips)
    last = torch.tensor([len(clip) - 1 for clip in clips])
    found = []
    with torch.inference_mode():
        for prompt in prompts:
            text = torch.from_numpy(embed_prompt(prompt, network.size.prompt_size))
            bins, logits = network.judge(
                features[torch.from_numpy(rows)], text.expand(len(clips), -1)
            )
            at = torch.arange(len(clips))
            progress = expected_progress(bins[at, last]).clamp(0, 1)
            found.append((progress.numpy(), logits[at, last].sigmoid().numpy()))
    return found


def _tensor(frames: Frames) -> Tensor:
    """(N, cameras, h, w, 3) uint8 to (N, cameras, 3, h, w) in [0, 1]."""
    return torch.from_numpy(frames).movedim(-1, 2) / 255.0


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
