"""One observation, asked again and again."""

import numpy as np

from tmrl_ros.vla.interface import VlaRequest

CAMERAS = ("front", "wrist")
SAMPLES, HORIZON, ACTION = 3, 8, 4


def pictures(seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for name in CAMERAS}


def request_of(**changes):
    rng = np.random.default_rng(1)
    samples = changes.get("samples", SAMPLES)
    usual = {
        "images": pictures(),
        "state": rng.normal(0.3, 0.5, 4).astype(np.float32),
        "prompt": "lift the red cube",
        "noise": rng.normal(size=(samples, HORIZON, ACTION)).astype(np.float32),
        "context_seed": 7,
        "samples": samples,
    }
    return VlaRequest(**{**usual, **changes})
