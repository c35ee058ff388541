"""A fixed embedding of task text: hashed character n-grams, no model to download.

It places texts that share pieces near one another and knows nothing of meaning, so a policy trained
on some words grounds a new one by its spelling. A VLA brings its own language model instead.
"""

from __future__ import annotations

import hashlib

import numpy as np

from tmrl_ros.core.types import Float32Array

GRAM_SIZES = (2, 3, 4)


def embed_prompt(text: str, size: int) -> Float32Array:
    """Embed a prompt.

    Args:
        text: Task text; case and spacing do not matter.
        size: Dimensions of the embedding.

    Returns:
        (size,) float32 with root mean square 1, the same on every machine.

    Raises:
        ValueError: The text has no letters.
    """
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    if not words:
        raise ValueError(f"prompt {text!r} has no letters: write what the robot should do")
    total = np.zeros(size)
    for word in words:
        padded = f"<{word}>"
        vector = np.zeros(size)
        grams = {padded[i : i + n] for n in GRAM_SIZES for i in range(len(padded) - n + 1)} | {
            padded
        }
        for gram in sorted(grams):
            digest = hashlib.blake2b(gram.encode(), digest_size=8).digest()
            vector += np.random.Generator(
                np.random.PCG64(int.from_bytes(digest, "little"))
            ).standard_normal(size)
        total += vector / np.linalg.norm(vector)
    rms = float(np.sqrt(np.mean(total**2)))
    return (total / max(rms, 1e-9)).astype(np.float32)
