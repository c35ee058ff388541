import sys
from pathlib import Path

import pytest
import torch

from tmrl_ros.vla.lerobot_classes import KINDS, missing

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(TESTS / "data")]

from asking import CAMERAS, request_of  # noqa: E402


@pytest.fixture(scope="session")
def extra():
    """Skips where LeRobot is not installed."""
    if reason := missing():
        pytest.skip(reason)
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkpoints(extra, tmp_path_factory):
    from tmrl_ros.vla.random_models import Shapes, make_tiny

    folder = tmp_path_factory.mktemp("tiny")
    return {kind: make_tiny(kind, folder / kind, Shapes(cameras=CAMERAS)) for kind in KINDS}


@pytest.fixture(scope="session")
def models(checkpoints):
    from tmrl_ros.vla.load import load_model

    return {kind: load_model(folder, "cpu") for kind, folder in checkpoints.items()}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def model(models, kind):
    return models[kind]


@pytest.fixture
def ask(model):
    """Chunks of a model for an observation that is always the same, unless told otherwise."""

    def asked(**changes):
        return model.infer(request_of(**changes)).actions

    return asked
