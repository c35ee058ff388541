"""A model that answers what it was asked, so that tests see what has arrived."""

import threading

import numpy as np

from tmrl_ros.vla.interface import VlaAnswer, VlaRequest, VlaSpec, expand_noise

HORIZON, WIDTH, STATE = 6, 4, 5
EVERYTHING = (
    "action_noise",
    "low_rank_noise",
    "context_timestep",
    "context_seed",
    "batch",
    "committed",
)


def spec(**changes: object) -> VlaSpec:
    values = {
        "name": "echo",
        "action_dim": WIDTH,
        "horizon": HORIZON,
        "state_dim": STATE,
        "cameras": ("scene", "wrist"),
        "capabilities": EVERYTHING,
        "model_sha256": "a" * 64,
        "normalisation_sha256": "b" * 64,
        "action_space": "cartesian_relative",
        "control_rate_hz": 20.0,
    }
    return VlaSpec(**{**values, **changes})


class Echo:
    """Actions are the noise, plus the timestep in column 1 and the seed in column 2.

    While `hold` is set, answers wait for `go`. `began` and `asked` tell what has been begun.
    """

    def __init__(self, **changes: object) -> None:
        self.spec = spec(**changes)
        self.asked: list[VlaRequest] = []
        self.warm = False
        self.hold = False
        self.began, self.go = threading.Event(), threading.Event()
        self.fault: Exception | None = None

    def infer(self, request: VlaRequest) -> VlaAnswer:
        self.asked.append(request)
        self.began.set()
        if self.hold:
            assert self.go.wait(30)
        if self.fault is not None:
            raise self.fault
        actions = np.zeros((request.samples, self.spec.horizon, self.spec.action_dim), np.float32)
        if request.noise is not None:
            actions += expand_noise(request.noise, self.spec.horizon)
        if request.t_context is not None:
            actions[..., 1] += request.t_context[:, None]
        if request.context_seed is not None:
            actions[..., 2] += request.context_seed
        return VlaAnswer(actions, request.state[:2].copy(), {"flow_ms": 1.5})

    def warm_up(self) -> None:
        self.warm = True


def picture(value: int = 7, height: int = 8, width: int = 10) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def request(**changes: object) -> VlaRequest:
    values = {
        "images": {"scene": picture(1), "wrist": picture(2)},
        "state": np.arange(STATE, dtype=np.float32),
        "prompt": "lift the red cube",
    }
    return VlaRequest(**{**values, **changes})
