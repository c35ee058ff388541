"""Choosers of the methods that make several chunks, of which critics of the motion choose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import Float32Array
from tmrl_ros.data.plans import KEPT_CANDIDATES
from tmrl_ros.learning.choosing.candidates import Candidates, draw, edited_along, samples
from tmrl_ros.learning.choosing.choice import Choice, Episode, small_z
from tmrl_ros.learning.choosing.reach import Reach
from tmrl_ros.learning.learners.expo import Editor
from tmrl_ros.learning.learners.rerank import pick
from tmrl_ros.policies.policy import Policy


@dataclass(frozen=True)
class CandidateChooser:
    """Candidates over z and t, of which critics choose; in warm-up the policy's plain answer.

    While training, what critics disagree about counts as promising, and some candidates are edited;
    in evaluations all are chunks of the policy's own.
    """

    policy: Policy
    method: MethodConfig
    reach: Reach

    def warm_up(self, episode: Episode, context: Float32Array) -> Choice:
        """The first candidate; the others are drawn to be remembered."""
        first = small_z(self.policy, self.method, episode.rng), episode.warmup_t
        return self._choice(episode, self._draw(episode, context, KEPT_CANDIDATES, first), 0)

    def choose(
        self, episode: Episode, learned: nn.Module, context: Float32Array, features: Float32Array
    ) -> Choice:
        """The candidate that the critics value most."""
        drawn = self._draw(episode, context, self.method.samples, self._plain())
        return self._choice(episode, drawn, self._best(episode, learned, features, drawn))

    def _plain(self) -> tuple[Float32Array, float]:
        return np.zeros(self.policy.z_size, np.float32), 0.0

    def _draw(
        self,
        episode: Episode,
        context: Float32Array,
        count: int,
        first: tuple[Float32Array, float],
    ) -> Candidates:
        return draw(
            self.policy,
            context,
            self.method,
            episode.rng,
            count=count,
            eps=episode.eps,
            first=first,
            reach=self.reach,
            edited=not episode.deterministic and self.method.name == "tmrl",
            committed=episode.committed,
        )

    def _best(
        self, episode: Episode, critics: nn.Module, features: Float32Array, drawn: Candidates
    ) -> int:
        with torch.inference_mode():
            every = torch.from_numpy(features).expand(len(drawn.plans), -1)
            values = critics(every, torch.from_numpy(drawn.plans))
            bonus = 0.0 if episode.deterministic else self.method.optimism
            return pick(values.mean(0) + bonus * values.std(0), self.method, episode.rng)

    @staticmethod
    def _choice(episode: Episode, drawn: Candidates, best: int) -> Choice:
        return Choice(
            drawn.actions[best],
            drawn.z[best],
            float(drawn.t_context[best]),
            drawn.eps_context[best],
            drawn.edits[best],
            drawn.kept(best, episode.rng),
        )


class EditChooser(CandidateChooser):
    """Samples at t = 0 and learned edits of them, of which critics choose."""

    def choose(
        self, episode: Episode, learned: nn.Module, context: Float32Array, features: Float32Array
    ) -> Choice:
        """The sample or edited sample that the critics value most."""
        assert isinstance(learned, Editor)
        drawn = self._draw(episode, context, self.method.samples, self._plain())
        with torch.inference_mode():
            every = torch.from_numpy(features).expand(len(drawn.plans), -1)
            edits = learned.edits(every, torch.from_numpy(drawn.plans), episode.generator)
        held = len(episode.committed)
        both = edited_along(drawn, edits.numpy(), self.policy, context, self.reach, held)
        best = self._best(episode, learned.critics, features, both)
        chosen = self._choice(episode, both, best)
        # Edits are made anew in targets: the plans to remember are the policy's.
        kept = np.concatenate([chosen.candidates[:1], drawn.plans])
        return Choice(
            chosen.actions, chosen.z, chosen.t_context, chosen.eps_context, chosen.edit, kept
        )


class SampleChooser(CandidateChooser):
    """The frozen policy's own samples, of which critics choose: V-GPS."""

    def warm_up(self, episode: Episode, context: Float32Array) -> Choice:
        """The first sample; the others are remembered."""
        return self._choice(episode, self._samples(episode, context), 0)

    def choose(
        self, episode: Episode, learned: nn.Module, context: Float32Array, features: Float32Array
    ) -> Choice:
        """The sample that the critics value most, or one drawn by value."""
        drawn = self._samples(episode, context)
        return self._choice(episode, drawn, self._best(episode, learned, features, drawn))

    def _samples(self, episode: Episode, context: Float32Array) -> Candidates:
        return samples(
            self.policy,
            context,
            episode.rng,
            count=self.method.samples,
            eps=episode.eps,
            reach=self.reach,
            committed=episode.committed,
        )
