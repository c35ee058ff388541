"""A VLA that is loaded and can be served (`interface.VlaModel`)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmrl_ros.core.types import ByteArray, Float32Array
from tmrl_ros.vla.backbone import IMAGES, STATE, TOKEN_MASK, TOKENS, Prefix
from tmrl_ros.vla.checkpoint_files import ACTION
from tmrl_ros.vla.csp import context_noise
from tmrl_ros.vla.interface import VlaAnswer, VlaRequest, VlaSpec, expand_noise
from tmrl_ros.vla.processing import Scale, image_batch, prompt_text, tokenise
from tmrl_ros.vla.sampling import Sampler

WARM_UP_SAMPLES = (1, 16)
WIDTH_SEED = 20_260_512  # of noise in the columns a model has beyond the robot's


class LerobotVla:
    """pi0, pi0.5 or SmolVLA with context smoothing.

    Its prefix, for the actor, is the mean of the embeddings of images and words (SmolVLA: and of
    the state), clean.
    """

    def __init__(
        self,
        spec: VlaSpec,
        sampler: Sampler,
        tokenizer: Any,
        scales: dict[str, Scale],
        device: torch.device,
    ) -> None:
        """Take what `load.load_model` has loaded."""
        self.spec, self.sampler = spec, sampler
        self._tokenizer, self._scales, self._device = tokenizer, scales, device
        backbone = sampler.backbone
        self._backbone, self._kind = backbone, str(backbone.config.type)
        self._slots = int(backbone.config.tokenizer_max_length)
        self._held: tuple[int, Tensor] | None = None  # seed and noise

    def infer(self, request: VlaRequest) -> VlaAnswer:
        """Answer one request.

        Raises:
            ValueError: The request does not fit the model; the text says how.
        """
        return self._infer(request, [request.context_seed] * request.samples)

    def infer_seeded(self, request: VlaRequest, seeds: NDArray[np.int64]) -> VlaAnswer:
        """The same with a seed (n,) of the context noise for every sample.

        Raises:
            ValueError: The request does not fit the model; the text says how.
        """
        if seeds.shape != (request.samples,):
            raise ValueError(
                f"seeds has shape {seeds.shape}, the request {request.samples} samples"
            )
        return self._infer(request, seeds.tolist())

    def _infer(self, request: VlaRequest, seeds: Sequence[int | None]) -> VlaAnswer:
        self._check(request)
        clock = _Clock(self._device)
        batch = self.batch([request.images], request.state[None], [request.prompt])
        prefix = self.embed(batch)
        clock.stamp("prefix_ms")
        shape = (1, *prefix.embeddings.shape[1:])
        t = np.zeros(request.samples) if request.t_context is None else request.t_context
        distinct = list(dict.fromkeys(seeds))
        eps = self._context_noise(distinct, shape, needed=bool(np.any(t)))
        whose = torch.tensor([distinct.index(seed) for seed in seeds], device=self._device)
        t_context = torch.as_tensor(t, dtype=torch.float32, device=self._device)
        contexts = self.sampler.contexts(prefix, t_context, eps, whose)
        clock.stamp("context_ms")
        chunks = self.sampler.chunks(
            contexts,
            self._backbone.padded_state(batch),
            self._noise(request),
            self._committed(request),
        )
        actions = self._scales[ACTION].undo(chunks[..., : self.spec.action_dim].float().cpu())
        if request.committed is not None:  # exactly what was committed, not what scaling left of it
            actions[:, : len(request.committed)] = torch.from_numpy(request.committed)
        clock.stamp("flow_ms")
        return VlaAnswer(actions.numpy(), _mean(prefix), clock.found)

    def warm_up(self) -> None:
        """Run with one and with sixteen candidates, so that whatever is compiled is compiled."""
        picture = np.zeros((64, 64, 3), np.uint8)
        for samples in WARM_UP_SAMPLES:
            request = VlaRequest(
                images={name: picture for name in self.spec.cameras},
                state=np.zeros(self.spec.state_dim, np.float32),
                prompt="warm up",
                samples=samples,
                context_seed=0,
            )
            self.infer(request)

    def batch(
        self, images: list[dict[str, ByteArray]], state: Float32Array, prompts: list[str]
    ) -> dict[str, Tensor]:
        """Observations as LeRobot's batch: images 0..1, state normalised, tokens."""
        normalised = self._scales[STATE].apply(torch.as_tensor(state, dtype=torch.float32))
        texts = [
            prompt_text(self._kind, prompt, row)
            for prompt, row in zip(prompts, normalised, strict=True)
        ]
        tokens, words = tokenise(self._tokenizer, texts, self._slots)
        found = {STATE: normalised, TOKENS: tokens, TOKEN_MASK: words}
        for name in self.spec.cameras:
            found[IMAGES + name] = image_batch([item[name] for item in images])
        return {key: value.to(self._device) for key, value in found.items()}

    @torch.inference_mode()
    def embed(self, batch: dict[str, Tensor]) -> Prefix:
        """The prefix of a batch."""
        return self._backbone.embed(batch)

    def _context_noise(
        self, seeds: Sequence[int | None], shape: tuple[int, ...], *, needed: bool
    ) -> Tensor:
        """Noise (k, S, D) of k seeds; that of the first is kept: an episode holds on to its own."""
        if not needed:
            return torch.zeros(1, device=self._device).expand(len(seeds), *shape[1:])
        first, *others = seeds
        if first is None:
            held = context_noise(None, shape, self._device)
        elif self._held is not None and self._held[0] == first and self._held[1].shape == shape:
            held = self._held[1]
        else:
            held = context_noise(first, shape, self._device)
            self._held = first, held
        return torch.cat([held, *(context_noise(seed, shape, self._device) for seed in others)])

    def _noise(self, request: VlaRequest) -> Tensor:
        """Noise (n, H, padded A); columns beyond the robot's are always the same noise."""
        horizon, padded = self._backbone.horizon, self._backbone.padded_action
        shape = (request.samples, horizon, padded)
        if request.noise is None:
            seed = None if request.context_seed is None else request.context_seed + 1
            return context_noise(seed, shape, self._device)
        given = torch.from_numpy(expand_noise(request.noise, horizon).astype(np.float32))
        rest = context_noise(WIDTH_SEED, (1, horizon, padded)).expand(request.samples, -1, -1)
        return torch.cat([given, rest[..., given.shape[-1] :]], dim=-1).to(self._device)

    def _committed(self, request: VlaRequest) -> Tensor | None:
        if request.committed is None or not len(request.committed):
            return None
        rows = self._scales[ACTION].apply(torch.from_numpy(request.committed).float())
        missing = self._backbone.padded_action - rows.shape[-1]
        return torch.nn.functional.pad(rows, (0, missing)).to(self._device)

    def _check(self, request: VlaRequest) -> None:
        spec, n = self.spec, request.samples
        for name in spec.cameras:
            if name not in request.images:
                given = list(request.images)
                raise ValueError(f"camera {name!r} is missing; images are of {given}")
            picture = request.images[name]
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
                raise ValueError(
                    f"the image of {name!r} is {picture.dtype} {picture.shape}, not uint8 (h, w, 3)"
                )
        if n < 1:
            raise ValueError(f"samples {n} is below 1")
        _fits("state", request.state, (spec.state_dim,))
        if request.t_context is not None:
            _fits("t_context", request.t_context, (n,))
            if request.t_context.min() < 0 or request.t_context.max() > 1:
                raise ValueError("t_context is not in [0, 1]")
        if (noise := request.noise) is not None:
            rows = noise.shape[1] if noise.ndim == 3 else 0
            _fits("noise", noise, (n, min(max(rows, 1), spec.horizon), spec.action_dim))
        if (rows := request.committed) is not None:
            if len(rows) >= spec.horizon:
                raise ValueError(f"committed has {len(rows)} rows, a chunk {spec.horizon}")
            _fits("committed", rows, (len(rows), spec.action_dim))


class _Clock:
    """Times the parts of a request."""

    def __init__(self, device: torch.device) -> None:
        self.found: dict[str, float] = {}
        self._device, self._last = device, time.perf_counter()

    def stamp(self, name: str) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self.found[name], self._last = 1e3 * (now - self._last), now


def _fits(name: str, values: Float32Array, shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise ValueError(f"{name} has shape {values.shape}, the model takes {shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} has numbers that are not finite")


def _mean(prefix: Prefix) -> Float32Array:
    """Mean of the valid embeddings of one prefix, (D,)."""
    valid = prefix.valid[0].float()[:, None]
    mean = (prefix.embeddings[0].float() * valid).sum(0) / valid.sum().clamp_min(1)
    found: Float32Array = mean.cpu().numpy()
    return found
