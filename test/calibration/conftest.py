import sys
from pathlib import Path

import numpy as np
import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("doubles", "data")]


@pytest.fixture(scope="session")
def studio():
    from rendered_boards import Studio

    return Studio()


@pytest.fixture(scope="session")
def shoot(studio):
    """Truth and pictures of a mount and seed, rendered once."""
    from rendered_boards import at_the_tool, beside_the_arm

    kept = {}

    def shot(mount, seed):
        make = at_the_tool if mount == "ee" else beside_the_arm
        if (mount, seed) not in kept:
            kept[mount, seed] = make(studio, np.random.default_rng(seed))
        return kept[mount, seed]

    return shot
