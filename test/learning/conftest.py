import sys
from pathlib import Path

import pytest

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import Chunk
from tmrl_ros.learning.core import LearnerCore
from tmrl_ros.learning.methods import Sizes

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "learning"), str(TESTS / "data")]
from told import pieces_of  # noqa: E402


@pytest.fixture
def make(tmp_path):
    """Makes learners that keep their checkpoints in one place, as one that is started again."""

    def core(recall=lambda _: None, demonstrated=lambda _: [], **settings):
        sample = next(piece for piece in pieces_of() if isinstance(piece, Chunk))
        values = {"hidden": 16, "batch_size": 8, "updates_per_decision": 0, "warmup_episodes": 0}
        if settings.get("name") == "vgps":
            values["rerank_samples"] = 4
        method = MethodConfig(**{**values, **settings})
        folder = tmp_path / "checkpoints"
        sizes = Sizes(sample.features.size, sample.z.size, sample.eps_context.size)
        return LearnerCore(method, sizes, 0, folder, recall=recall, demonstrated=demonstrated)

    return core
