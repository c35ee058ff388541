"""Let the tests of this folder share doubles and cases."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "doubles")]

from robometer_server import RobometerServer  # noqa: E402


@pytest.fixture
def server():
    made = RobometerServer()
    yield made
    made.die()
