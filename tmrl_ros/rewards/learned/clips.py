"""Which frames of an episode make a clip: prefixes, segments, rewound and reversed ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
KINDS = ("prefix", "segment", "rewind", "reverse")
SHARES = (0.55, 0.15, 0.15, 0.15)


def spread(indices: Sequence[int] | IntArray, most: int) -> IntArray:
    """At most `most` of the indices, evenly over all of them, both ends kept."""
    chosen = np.asarray(indices, np.int64)
    if len(chosen) <= most:
        return chosen
    places: IntArray = np.linspace(0, len(chosen) - 1, most).round().astype(np.int64)
    return chosen[places]


def draw_clip(kind: str, length: int, most: int, rng: np.random.Generator) -> IntArray:
    """Frame numbers of one clip of an episode with `length` frames; short ones are prefixes.

    A prefix is what a running episode shows. A rewound clip plays forward and then back again, a
    reversed one only back (Robometer's failure augmentation).
    """
    if kind == "prefix" or length < 4:
        return spread(range(int(rng.integers(1, length + 1))), most)
    a, b, c = sorted(int(i) for i in rng.choice(length, 3, replace=False))
    if kind == "segment":
        return spread(range(a, c + 1), most)
    if kind == "rewind":
        return spread([*range(a, c + 1), *range(c - 1, b - 1, -1)], most)
    return spread(range(c, a - 1, -1), most)


def rewound(length: int, most: int, rng: np.random.Generator) -> IntArray:
    """The whole episode, and back to somewhere in its first half."""
    back_to = int(rng.integers(0, max(1, length // 2)))
    return spread([*range(length), *range(length - 2, back_to - 1, -1)], most)


def pad(clips: Sequence[IntArray], length: int | None = None) -> tuple[IntArray, NDArray[np.bool_]]:
    """Stack clips (B, L), repeating last frames; and where that was done (B, L)."""
    longest = length or max(len(clip) for clip in clips)
    rows = np.stack([np.pad(clip, (0, longest - len(clip)), mode="edge") for clip in clips])
    unused = np.arange(longest)[None] >= np.array([len(clip) for clip in clips])[:, None]
    return rows, unused
