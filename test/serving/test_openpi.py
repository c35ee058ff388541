"""openpi's client at our server, and our client at openpi's server.

Both are made again here from the description of the wire; where the package `openpi-client` is
installed its own client asks too.
"""

import numpy as np
import pytest
from openpi_wire import OpenpiClient, OpenpiServer
from small_model import HORIZON, STATE, WIDTH, Echo, picture

from tmrl_ros.serving.client import RefusedError, UnansweredError, VlaClient
from tmrl_ros.serving.server import Settings, VlaServer, running

TOKEN = "correct-horse-battery"
CLIENTS = [OpenpiClient]
try:
    from openpi_client.websocket_client_policy import WebsocketClientPolicy
except ImportError:
    pass
else:
    CLIENTS.append(WebsocketClientPolicy)

OBSERVATION = {
    "observation/scene": picture(1),
    "observation/wrist": picture(2),
    "observation/state": np.arange(STATE, dtype=np.float64),
    "prompt": "lift the red cube",
}


@pytest.mark.parametrize("client", CLIENTS)
def test_an_openpi_client_asks_our_server(client):
    model = Echo()
    with running(VlaServer(lambda: model, Settings(port=0, token=TOKEN))) as server:
        policy = client("127.0.0.1", server.port, api_key=TOKEN)
        metadata = policy.get_server_metadata()
        assert metadata["tmrl"]["spec"]["action_dim"] == WIDTH
        first, second = policy.infer(OBSERVATION), policy.infer(OBSERVATION)
        assert first["actions"].shape == (HORIZON, WIDTH) and first["actions"].dtype == np.float32
        assert first["server_timing"].keys() == {"infer_ms"}
        assert second["server_timing"].keys() == {"infer_ms", "prev_total_ms"}
        assert second["policy_timing"] == {"flow_ms": 1.5}
        with pytest.raises(RuntimeError, match="no image of camera 'wrist'"):
            policy.infer({k: v for k, v in OBSERVATION.items() if k != "observation/wrist"})
    asked = model.asked[-1]
    assert asked.prompt == "lift the red cube" and asked.state.tolist() == [0, 1, 2, 3, 4]
    assert asked.noise is None and asked.t_context is None


def answer(observation):
    return {
        "actions": np.full((10, 7), observation["observation/state"][0]),
        "policy_timing": {"infer_ms": 2.5},
    }


def test_our_client_asks_an_openpi_server_and_knows_that_it_takes_no_noise():
    with OpenpiServer(answer).running() as server:
        client = VlaClient(f"ws://127.0.0.1:{server.port}")
        client.connect(30)
        assert client.offer is None and client.server_metadata == {"reset_pose": [0.0, 0.5]}
        found = client.infer_plain({**OBSERVATION, "observation/state": np.full(3, 0.5)})
        assert found.answer.actions.shape == (1, 10, 7) and found.answer.actions.max() == 0.5
        assert found.server_ms == {"infer_ms": 3.25}
        assert found.answer.timings_ms == {"infer_ms": 2.5}
        seen = server.seen[-1]
        assert np.array_equal(seen["observation/scene"], picture(1))
        assert seen["prompt"] == OBSERVATION["prompt"]
        client.close()


def test_a_key_that_an_openpi_server_misses_is_named_and_the_next_request_connects_again():
    with OpenpiServer(answer).running() as server:
        client = VlaClient(f"ws://127.0.0.1:{server.port}")
        with pytest.raises(RefusedError, match=r"says: KeyError: 'observation/state'"):
            client.infer_plain({"prompt": "x"})
        assert client.infer_plain(OBSERVATION).answer.actions.shape == (1, 10, 7)
        client.close()


@pytest.mark.parametrize(
    "wrong",
    [{}, {"actions": 3}, {"actions": np.zeros(3)}, {"actions": np.full((2, 7), np.nan)}],
)
def test_an_openpi_answer_of_no_use_is_no_chunk(wrong):
    with OpenpiServer(lambda observation: wrong).running() as server:
        client = VlaClient(f"ws://127.0.0.1:{server.port}")
        with pytest.raises(UnansweredError, match="an answer of no use"):
            client.infer_plain(OBSERVATION)
