"""Let the tests of this folder share doubles and cases."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / name) for name in ("rewards", "doubles", "data")]

from robometer_server import RobometerServer  # noqa: E402


@pytest.fixture
def server():
    made = RobometerServer()
    yield made
    made.die()
