"""`tmrl vla-server` as a process: what it prints, whom it lets in, how it ends."""

import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tmrl_ros.serving.client import RefusedError, VlaClient
from tmrl_ros.vla.interface import VlaRequest

LIFT = Path(__file__).parents[2] / "bundles" / "lift"
COMMAND = [sys.executable, "-m", "tmrl_ros.cli.main", "vla-server"]


@contextmanager
def started(*words):
    """The command, and the address it says it serves."""
    argv = [*COMMAND, *words]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process, process.stdout.readline()
        finally:
            process.kill()


def test_a_bundle_is_served_to_those_with_the_token_until_the_process_is_ended(tmp_path):
    (tmp_path / "token").write_text("correct-horse-battery")
    with started(str(LIFT), "--port", "0", "--token-file", str(tmp_path / "token")) as (
        process,
        said,
    ):
        assert said.startswith(f"Serves {LIFT} on ws://127.0.0.1:")
        url = said.split(" on ")[1].strip()
        with pytest.raises(RefusedError, match="401"):
            VlaClient(url).connect(60)
        client = VlaClient(url, token="correct-horse-battery", timeout_s=60)
        client.connect(60)
        state = np.zeros(client.offer.spec.state_dim, np.float32)
        assert client.infer(VlaRequest({}, state, "lift")).answer.actions.shape == (1, 8, 4)
        client.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "There is no folder nowhere"),
        ([str(LIFT), "--host", "0.0.0.0"], "0.0.0.0 lets other machines ask"),
        ([str(LIFT), "--token-file", "nowhere"], "token file nowhere cannot be read"),
        ([str(LIFT.parent / "lift_points"), "--port", "0"], "looks at points cannot be served"),
    ],
)
def test_what_a_person_can_correct_is_one_sentence_and_exit_code_2(words, said):
    found = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=300)
    assert found.returncode == 2 and said in found.stderr
    assert "Traceback" not in found.stderr
