"""The server and its client over real sockets: what is answered, refused, late and lost."""

import asyncio
import http.client
import socket
import threading
import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import websockets.exceptions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpi_wire import packb
from small_model import HORIZON, STATE, WIDTH, Echo, picture, request
from websockets.sync.client import connect

from tmrl_ros.core.errors import ConfigurationError, OperatorError
from tmrl_ros.serving.client import RefusedError, UnansweredError, VlaClient
from tmrl_ros.serving.codec import decode
from tmrl_ros.serving.protocol import Limits
from tmrl_ros.serving.server import Settings, VlaServer, running

PATIENCE_S = 60.0
TOKEN = "correct-horse-battery"


@contextmanager
def serving(model, port=0, **settings):
    with running(VlaServer(lambda: model, Settings(port=port, **settings))) as server:
        yield server


@contextmanager
def asking(server, timeout_s=PATIENCE_S, **settings):
    client = VlaClient(f"ws://127.0.0.1:{server.port}", timeout_s=timeout_s, **settings)
    client.connect(PATIENCE_S)
    try:
        yield client
    finally:
        client.close()


def until(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def health(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("GET", "/healthz")
    response = connection.getresponse()
    return response.status, response.read()


@pytest.fixture(scope="module")
def echo():
    model = Echo()
    with serving(model) as server:
        yield model, server


def test_a_request_reaches_the_model_and_its_answer_comes_back(echo):
    model, server = echo
    noise = np.random.default_rng(0).standard_normal((2, 1, WIDTH)).astype(np.float32)
    asked = request(
        noise=noise, t_context=np.array([0, 0.5], np.float32), context_seed=3, samples=2
    )
    with asking(server) as client:
        assert client.offer.spec == model.spec and client.server_metadata["model"] == "echo"
        first, second = client.infer(asked), client.infer(asked)
    arrived = model.asked[-1]
    assert {name: image.tolist() for name, image in arrived.images.items()} == {
        name: image.tolist() for name, image in asked.images.items()
    }
    assert (arrived.prompt, arrived.context_seed, arrived.samples) == (asked.prompt, 3, 2)
    assert np.array_equal(arrived.noise, noise) and np.array_equal(arrived.state, asked.state)
    assert first.answer.actions.shape == (2, HORIZON, WIDTH)
    assert np.array_equal(first.answer.actions[:, 0, 0], noise[:, 0, 0])
    assert np.array_equal(first.answer.prefix, asked.state[:2])
    assert first.answer.timings_ms == {"flow_ms": 1.5}
    assert set(first.server_ms) == {"infer_ms"}
    assert set(second.server_ms) == {"infer_ms", "prev_total_ms"}


def test_samples_of_different_seeds_come_back_in_their_places(echo):
    _, server = echo
    t = np.array([0.1, 0.2, 0.3], np.float32)
    with asking(server) as client:
        answer = client.infer(request(t_context=t, samples=3), seeds=[4, 8, 4]).answer
    assert answer.actions[:, 0, 2].tolist() == [4, 8, 4]
    assert np.allclose(answer.actions[:, 0, 1], t)


def test_a_wrong_request_is_told_and_the_next_one_is_answered(echo):
    _, server = echo
    with asking(server) as client:
        with pytest.raises(RefusedError, match=r"says: The state has the shape \(2,\)"):
            client.infer(request(state=np.zeros(2, np.float32)))
        assert client.infer(request()).answer.actions.shape == (1, HORIZON, WIDTH)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=50))
def test_any_message_is_answered_with_a_sentence_and_the_server_lives(echo, message):
    _, server = echo
    with connect(f"ws://127.0.0.1:{server.port}") as connection:
        connection.recv()
        connection.send(message)
        assert isinstance(connection.recv(timeout=PATIENCE_S), str)
    assert health(server.port) == (200, b"OK\n")


def test_bytes_that_are_no_websocket_do_not_harm(echo):
    _, server = echo
    for data in (b"\x16\x03\x01" + bytes(200), b"GET / HTTP/1.1\r\n\r\n", b"A" * 70000):
        with (
            suppress(ConnectionError),  # it may be gone before all is sent
            socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as raw,
        ):
            raw.sendall(data)
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(4096):
                pass
    assert health(server.port) == (200, b"OK\n")


def test_a_page_in_a_browser_is_kept_out(echo):
    _, server = echo
    with pytest.raises(websockets.exceptions.InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{server.port}", origin="http://evil.example")


def test_the_server_is_not_ready_before_its_model_is_warm():
    model, go = Echo(), threading.Event()

    def load():
        assert go.wait(PATIENCE_S)
        return model

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = VlaServer(load, Settings(port=port))
    opened = threading.Event()

    def early():
        until(lambda: is_open(port), "the port")
        assert health(port)[0] == 503
        client = VlaClient(f"ws://127.0.0.1:{port}", timeout_s=PATIENCE_S)
        opened.set()
        client.connect(PATIENCE_S)
        warm.append(model.warm)
        client.close()

    warm = []
    thread = threading.Thread(target=early)
    thread.start()
    release = threading.Thread(target=lambda: (opened.wait(PATIENCE_S), go.set()))
    release.start()
    with running(server):
        thread.join(PATIENCE_S)
        assert health(port) == (200, b"OK\n") and warm == [True]
    release.join(PATIENCE_S)


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_model_that_cannot_be_loaded_ends_the_server_with_its_own_error():
    def load():
        raise OperatorError("There is no model.")

    with (
        pytest.raises(OperatorError, match="There is no model"),
        running(VlaServer(load, Settings(port=0))),
    ):
        pass


def test_a_port_that_is_taken_is_one_sentence(echo):
    _, server = echo
    with pytest.raises(ConfigurationError, match=f"127.0.0.1:{server.port}.*another --host or"):
        asyncio.run(VlaServer(Echo, Settings(port=server.port)).run())


@pytest.mark.parametrize("token", ["", "wrong-token-of-somebody", "Correct-horse-battery"])
def test_without_the_token_nobody_asks(token):
    model = Echo()
    with serving(model, token=TOKEN) as server:
        client = VlaClient(f"ws://127.0.0.1:{server.port}", token=token)
        with pytest.raises(RefusedError, match=r"refuses \(401\).*policy.token_file"):
            client.connect(PATIENCE_S)
        with asking(server, token=TOKEN) as client:
            assert client.infer(request()).answer.actions.shape[0] == 1
        assert health(server.port)[0] == 200
    assert len(model.asked) == 1


def test_other_machines_are_let_in_only_with_a_token():
    with pytest.raises(ConfigurationError, match=r"0\.0\.0\.0 lets other machines ask"):
        VlaServer(Echo, Settings(host="0.0.0.0"))
    VlaServer(Echo, Settings(host="0.0.0.0", token=TOKEN))
    VlaServer(Echo, Settings(host="::1"))


def test_a_message_above_the_limit_is_not_taken_and_others_are():
    model = Echo()
    limits = Limits(message_bytes=20_000)
    with serving(model, limits=limits) as server, asking(server) as client:
        large = {"scene": picture(height=100, width=100), "wrist": picture()}
        with pytest.raises(UnansweredError, match="broke off.*1009"):
            client.infer(request(images=large))
        assert client.infer(request()).answer.actions.shape[0] == 1
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (ValueError("The prompt has no letters."), "The prompt has no letters"),
        (RuntimeError("CUDA out of memory"), r"The model has failed \(RuntimeError\)"),
    ],
)
def test_a_model_that_fails_is_told_and_is_asked_again(fault, said):
    model = Echo()
    with serving(model) as server, asking(server) as client:
        model.fault = fault
        with pytest.raises(RefusedError, match=said):
            client.infer(request())
        model.fault = None
        assert client.infer(request()).answer.actions.shape[0] == 1


class Broken(Echo):
    """Answers what no robot should see."""

    def infer(self, request):
        answer = super().infer(request)
        answer.actions[0, 0, 0] = np.nan
        return answer


def test_actions_that_are_not_finite_are_not_sent():
    with (
        serving(Broken()) as server,
        asking(server) as client,
        pytest.raises(RefusedError, match="actions that are not finite"),
    ):
        client.infer(request())


def test_a_late_chunk_never_arrives():
    model = Echo()
    with serving(model) as server, asking(server, timeout_s=0.3) as client:
        model.hold = True
        late = request(noise=np.full((1, 1, WIDTH), 7.0, np.float32))
        with pytest.raises(UnansweredError, match=r"did not answer within 0\.3 s.*closed"):
            client.infer(late)
        assert model.began.is_set(), "the model was at work when time was up"
        model.hold = False
        model.go.set()
        client.timeout_s = PATIENCE_S
        for value in (1.0, 2.0):
            now = request(noise=np.full((1, 1, WIDTH), value, np.float32))
            assert client.infer(now).answer.actions[0, 0, 0] == value


def test_a_request_whose_client_has_gone_is_not_begun():
    model = Echo()
    model.hold = True
    with serving(model) as server, asking(server) as first:
        thread = threading.Thread(target=first.infer, args=(request(prompt="first"),))
        thread.start()
        assert model.began.wait(PATIENCE_S)
        with asking(server, timeout_s=0.2) as second, pytest.raises(UnansweredError):
            second.infer(request(prompt="second"))
        until(lambda: server.connections == 1, "the server to see that the second has gone")
        model.hold = False
        model.go.set()
        thread.join(PATIENCE_S)
        with asking(server) as third:
            third.infer(request(prompt="third"))
    assert [item.prompt for item in model.asked] == ["first", "third"]


def test_a_server_that_dies_in_the_middle_is_told_and_its_successor_is_found():
    model = Echo()
    model.hold = True
    failed = []

    def ask(client):
        try:
            client.infer(request())
        except UnansweredError as error:
            failed.append(str(error))

    with serving(model) as server:
        port = server.port
        client = VlaClient(f"ws://127.0.0.1:{port}", timeout_s=PATIENCE_S)
        client.connect(PATIENCE_S)
        thread = threading.Thread(target=ask, args=(client,))
        thread.start()
        assert model.began.wait(PATIENCE_S)
    thread.join(PATIENCE_S)
    model.go.set()
    assert len(failed) == 1 and "broke off" in failed[0]
    with pytest.raises(UnansweredError, match=r"Nobody listens.*tried for 0\.2 s"):
        client.connect(0.2)
    with serving(Echo(), port=port):
        assert client.infer(request()).answer.actions.shape[0] == 1
        client.close()


def test_a_client_waits_for_a_server_that_starts_later():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    client, found = VlaClient(f"ws://127.0.0.1:{port}"), []

    def wait():
        client.connect(PATIENCE_S)
        found.append(client.offer.spec.name)

    thread = threading.Thread(target=wait)
    thread.start()
    with serving(Echo(), port=port):
        thread.join(PATIENCE_S)
        client.close()
    assert found == ["echo"]


def test_another_model_behind_the_same_address_is_not_taken_for_the_first():
    with serving(Echo()) as server:
        client = VlaClient(f"ws://127.0.0.1:{server.port}")
        client.connect(PATIENCE_S)
        port = server.port
    client.close()
    with (
        serving(Echo(name="other", model_sha256="c" * 64), port=port),
        pytest.raises(RefusedError, match="now serves another model.*other, before echo"),
    ):
        client.connect(PATIENCE_S)


def test_requests_of_one_connection_are_answered_in_order(echo):
    _, server = echo
    with connect(f"ws://127.0.0.1:{server.port}", max_size=None) as connection:
        connection.recv()
        images = {"scene": picture(), "wrist": picture()}
        fields = {"tmrl_version": 1, "images": images, "state": np.zeros(STATE), "prompt": ""}
        for number in range(5):
            connection.send(packb({**fields, "request": number}))
        found = [decode(connection.recv(timeout=PATIENCE_S))["request"] for _ in range(5)]
    assert found == list(range(5))


@pytest.mark.parametrize("url", ["http://here:8000", "here:8000", "ws://"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(OperatorError, match="no address"):
        VlaClient(url)
