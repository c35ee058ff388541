import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture(scope="session")
def curves():
    """Statistics of learning curves."""
    return importlib.import_module("curves")


@pytest.fixture(scope="session")
def scenes():
    """OGBench as the learner sees it; OGBench itself is needed only to make a scene."""
    return importlib.import_module("ogbench_scenes")


@pytest.fixture(scope="session")
def ogbench_rig():
    """Episodes and policies of such scenes."""
    return importlib.import_module("ogbench_rig")


@pytest.fixture(scope="session")
def rig_module():
    """The rig without ROS."""
    return importlib.import_module("rig")
