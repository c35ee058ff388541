import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "data"), str(Path(__file__).parent)]


@pytest.fixture
def session(tmp_path):
    """Four episodes, recorded as the recorder records them."""
    from sessions import record

    from tmrl_ros.core.types import EpisodeOutcome

    outcomes = [EpisodeOutcome.SUCCESS, EpisodeOutcome.TIMEOUT] * 2
    return record(tmp_path / "session", outcomes)
