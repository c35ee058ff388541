"""A VLA behind the policy server answers as it does in this process."""

import numpy as np
import pytest
from asking import ACTION, SAMPLES, request_of

from tmrl_ros.serving.client import RefusedError, VlaClient
from tmrl_ros.serving.main import load_model
from tmrl_ros.serving.server import Settings, VlaServer, running

PATIENCE_S = 60.0


@pytest.fixture(params=["smolvla", "pi0"])
def both(request, checkpoints, models):
    """A client of a server that has loaded a checkpoint, and the same checkpoint here."""
    folder = checkpoints[request.param]
    server = VlaServer(lambda: load_model(folder, 1, "cpu"), Settings(port=0))
    with running(server):
        client = VlaClient(f"ws://127.0.0.1:{server.port}", timeout_s=PATIENCE_S)
        client.connect(PATIENCE_S)
        yield client, models[request.param]
        client.close()


def test_the_same_seeds_give_the_same_chunk_on_a_server_and_here(both):
    client, here = both
    t = np.linspace(0, 1, SAMPLES, dtype=np.float32)
    asked = request_of(t_context=t)
    there = client.infer(asked).answer
    assert client.offer.spec == here.spec
    assert np.array_equal(there.actions, here.infer(asked).actions)
    assert np.array_equal(there.prefix, here.infer(asked).prefix)

    seeds = [7, 8, 9]
    asked = request_of(t_context=t, context_seed=None)
    found = client.infer(asked, seeds).answer.actions
    assert np.array_equal(found, here.infer_seeded(asked, np.array(seeds)).actions)


def test_committed_rows_travel(both):
    client, here = both
    rows = here.infer(request_of()).actions[0, :2] + np.float32(0.3)
    chunks = client.infer(request_of(committed=rows)).answer.actions
    assert np.array_equal(chunks, here.infer(request_of(committed=rows)).actions)
    assert np.array_equal(chunks[0, :2], rows)


def test_a_request_that_does_not_fit_is_refused_in_words(both):
    client, _ = both
    noise = np.zeros((SAMPLES, 9, ACTION), np.float32)
    with pytest.raises(RefusedError, match="noise"):
        client.infer(request_of(noise=noise))
