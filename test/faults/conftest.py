import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "faults"), str(TESTS / "policies")]
from whole_graph import Run, make_bundle  # noqa: E402


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """An untrained policy for the lift task: it moves a little, and nobody expects more."""
    folder = tmp_path_factory.mktemp("bundle") / "lift"
    make_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory, bundle, domain_id):
    """Starts `tmrl finetune` in one session folder; whatever still runs is ended with the module.

    Without `resume` it is a new session with budgets as small as they can be.
    """
    runs = []

    def go(*overrides, session=None, resume=False):
        session = session or tmp_path_factory.mktemp("faults") / "session"
        words = ["--resume", str(session)]
        if not resume:
            words = [
                f"session.dir={session}",
                f"session.domain_id={domain_id}",
                f"task.bundle={bundle}",
                "task=lift",
                "reward=simulator",
                "task.max_decisions=3",
                "recorder.cameras=none",
                "method.warmup_episodes=2",
                "method.updates_per_decision=2",
                "method.batch_size=16",
                "session.evaluation_episodes=1",
                "session.decision_timeout_s=20",
            ]
        runs.append(Run(session, [*words, *overrides]))
        return runs[-1]

    yield go
    for run in runs:
        run.kill_everything()
