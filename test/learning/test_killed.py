"""A learner that is killed 50 times, at any moment, ends where an undisturbed one does."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import recorded
import torch
from safetensors.torch import load_file

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import EpisodeOutcome
from tmrl_ros.data.bag_reader import read_session
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.learning.core import LearnerCore
from tmrl_ros.learning.methods import Sizes

EPISODES, ROWS, KILLS = 60, 3, 50
METHOD = MethodConfig(hidden=32, batch_size=32, updates_per_decision=2, warmup_episodes=2)
SIZES = Sizes(features=10, z=5, context=7)


def record(session: Path) -> None:
    """A session of bags, successes and time-outs."""
    for number in range(EPISODES):
        name = f"train_{number:06d}"
        result = EpisodeOutcome.SUCCESS if number % 3 else EpisodeOutcome.TIMEOUT
        with BagWriter(session / "episodes" / name, custom={"episode_id": name}) as writer:
            for piece in recorded.episode(name, ROWS, result):
                recorded.put(writer, piece)


def learn(records, folder: Path, step=lambda: None) -> LearnerCore:
    """Restore what there is, learn from the rest, with a checkpoint after every episode."""
    core = LearnerCore(METHOD, SIZES, 0, folder)
    step()
    core.restore(records)
    while core.work(0.005) is not None or not core.between_episodes or core.updates_owed:
        step()
        if core.between_episodes:
            core.save()
    return core


def learn_and_die(records, folder: Path, steps: int, then_s: float) -> None:
    """Learn in a process of its own, which SIGKILL ends soon after that many steps."""
    ears, mouth = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            learn(records, folder, lambda: os.write(mouth, b"."))
            os._exit(0)
        except BaseException:
            os._exit(1)
    os.close(mouth)
    with os.fdopen(ears, "rb", buffering=0) as heard:
        while steps > 0 and heard.read(1):
            steps -= 1
        time.sleep(then_s)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the learner itself failed"


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # other threads do not survive a fork
    yield
    torch.set_num_threads(before)


def test_killed_at_random_moments_it_loses_nothing(tmp_path, one_thread):
    session = tmp_path / "session"
    record(session)
    records = read_session(session)
    calm = learn(records, tmp_path / "calm")
    folder, rng = tmp_path / "killed", random.Random(0)
    reached = []
    for _ in range(KILLS):
        # Early ones hit the restoring, late ones the learning and the writing of checkpoints.
        learn_and_die(records, folder, rng.randrange(12), rng.uniform(0.0, 0.003))
        for torn in folder.glob("learner.json"):
            assert torn.read_text().endswith("}")
        core = LearnerCore(METHOD, SIZES, 0, folder)
        core.restore(records)
        reached.append(core.progress.episodes)
        waiting = sum(len(episode.transitions) for episode in core.intake.queue)
        assert core.replay.size + waiting == EPISODES * ROWS
    assert reached == sorted(reached), "a checkpoint went back"
    assert len(set(reached)) > 3, "the kills hit different moments"

    core = learn(records, folder)
    assert core.replay.size == calm.replay.size == EPISODES * ROWS
    assert vars(core.progress) == vars(calm.progress)
    assert core.updates_owed == 0
    for key, value in calm.learner.acting.state_dict().items():
        assert torch.equal(value, core.learner.acting.state_dict()[key])
    (weights,) = folder.glob("learner-*.safetensors")
    assert load_file(weights)
    core.save()
    assert not list(folder.glob("*.tmp")), "left half written by a kill"
