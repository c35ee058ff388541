"""The server over real sockets: who is let in, what is sent, that a stop never queues."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

import psutil
import pytest
from stories import Hand
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tmrl_ros.console.access import new_token
from tmrl_ros.console.lifeline import Lifeline
from tmrl_ros.console.model import ConsoleModel, SafetyReport
from tmrl_ros.console.pictures import Pictures
from tmrl_ros.console.routes import Console
from tmrl_ros.console.server import ConsoleServer
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.session.records import EpisodeRecord, load_records

TOKEN = new_token()
PATIENCE_S = 20.0


class Served:
    """A console with a server, and a client that may say anything."""

    def __init__(self, folder, *, latch_s=0.0):
        self.hand = Hand()
        self.model = ConsoleModel("lift-1", "lift", "lift the red cube", ("wrist",))
        self.pictures = Pictures()
        self.said = []
        bags = folder / "episodes"
        console = Console(self.model, self.pictures, self.hand, Lifeline(latch_s), bags)
        self.server = ConsoleServer(
            console, address="127.0.0.1", ports=(0,), token=TOKEN, say=self.said.append
        )
        self.url = self.server.start()
        self.host = urlsplit(self.url).netloc

    def ask(self, method, path, body=None, token=TOKEN, **headers):
        connection = HTTPConnection(self.host, timeout=PATIENCE_S)
        known = {"Authorization": f"Bearer {token}"} if token is not None else {}
        found = {**known, **headers}
        connection.request(method, path, body, found)
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        return reply, content

    def socket(self, path, token=TOKEN, **headers):
        return connect(
            f"ws://{self.host}{path}?token={token}",
            additional_headers=headers,
            max_size=None,
            close_timeout=0.5,
        )

    def until(self, condition, what):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {what}"
            time.sleep(0.01)


@pytest.fixture
def served(tmp_path):
    served = Served(tmp_path)
    yield served
    served.server.close()


@pytest.mark.parametrize("command", ["stop", "reset", "start", "pause"])
def test_buttons_reach_the_operator(served, command):
    reply, body = served.ask("POST", f"/api/{command}")
    assert served.hand.pressed == [(command,)]
    assert json.loads(body) == {"success": command != "reset", "message": f"{command} it is"}
    assert reply.status == (409 if command == "reset" else 200)


def test_a_label_names_outcome_and_episode(served):
    words = json.dumps({"outcome": "success", "episode": "train_000003"})
    assert served.ask("POST", "/api/label", words)[0].status == 200
    assert served.hand.pressed == [("label", "success", "train_000003")]


@pytest.mark.parametrize("body", ["{}", "[1]", "{not json", '"words"'])
def test_a_label_that_cannot_be_read_is_refused(served, body):
    assert served.ask("POST", "/api/label", body)[0].status == 400
    assert served.hand.pressed == []


def test_a_task_text_reaches_the_operator(served):
    reply, _ = served.ask("POST", "/api/prompt", json.dumps({"text": "lift the lime cube"}))
    assert reply.status == 200
    assert served.hand.pressed == [("prompt", "lift the lime cube")]


def test_a_cut_is_written_into_the_session(served, tmp_path):
    record = EpisodeRecord("train_000003", 3, "train", "timeout", decisions=9)
    line = {name: getattr(record, name) for name in ("episode_id", "index", "phase", "outcome")}
    (tmp_path / "episodes.jsonl").write_text(json.dumps({**line, "decisions": 9}) + "\n")
    words = {"episode": "train_000003", "decisions": 4, "outcome": "success"}
    reply, body = served.ask("POST", "/api/trim", json.dumps(words))
    assert (reply.status, json.loads(body)["message"]) == (
        200,
        "Episode train_000003 ends after 4 of 9 decisions, as success.",
    )
    (cut,) = load_records(tmp_path)
    assert (cut.outcome, cut.trimmed_to) == ("success", 4)
    words["decisions"] = 10
    reply, body = served.ask("POST", "/api/trim", json.dumps(words))
    assert reply.status == 409 and "from 1 to 9" in json.loads(body)["message"]
    assert load_records(tmp_path) == [cut]


@pytest.mark.parametrize("body", ["{}", '{"episode": "train_000003", "decisions": "4"}'])
def test_a_cut_that_cannot_be_read_is_refused(served, tmp_path, body):
    assert served.ask("POST", "/api/trim", body)[0].status == 400
    assert not (tmp_path / "trims.jsonl").exists()


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x"])
def test_nothing_is_pressed_or_told_without_the_token(served, token):
    for method, path in (("POST", "/api/stop"), ("GET", "/api/log"), ("GET", "/")):
        reply, _ = served.ask(method, path, token=token)
        assert reply.status == 401
    for path in ("/api/state", "/api/pictures"):
        with pytest.raises(InvalidStatus) as refused:
            served.socket(path, token=token)
        assert refused.value.response.status_code == 401
    assert served.hand.pressed == []


def test_a_token_in_the_address_is_no_token_for_a_button(served):
    reply, _ = served.ask("POST", f"/api/stop?token={TOKEN}", token=None)
    assert reply.status == 401
    assert served.hand.pressed == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example:8137"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_other_sites_press_nothing_though_they_know_the_token(served, headers):
    for method, path in (("POST", "/api/stop"), ("GET", "/"), ("GET", "/api/log")):
        assert served.ask(method, path, **headers)[0].status == 403
    assert served.hand.pressed == []


def test_a_socket_is_refused_to_other_sites(served):
    with pytest.raises(InvalidStatus) as refused:
        served.socket("/api/state", Origin="http://evil.example")
    assert refused.value.response.status_code == 403


def test_other_interfaces_are_not_listened_on(served):
    port = int(served.host.rpartition(":")[2])
    outside = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    assert [c.laddr.ip for c in psutil.Process().net_connections() if c.status == "LISTEN"
            and c.laddr.port == port] == ["127.0.0.1"]  # fmt: skip
    for address in [*outside, "127.0.0.2"]:
        with pytest.raises(OSError):
            socket.create_connection((address, port), timeout=1.0)


def test_the_page_and_its_files_come_from_here_alone(served):
    reply, page = served.ask("GET", f"/?token={TOKEN}", token=None)
    assert reply.status == 200 and b"STOP" in page and b"hardware stop button" in page
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    for word in page.decode().replace(">", " ").split():
        name, _, value = word.partition("=")
        if name in ("src", "href"):
            assert "//" not in value
            if not value.startswith('"data:'):
                assert served.ask("GET", "/" + value.strip('"'), token=None)[0].status == 200


def test_state_comes_by_itself_and_at_once_when_it_matters(served):
    with served.socket("/api/state") as socket_:
        first = json.loads(socket_.recv(timeout=PATIENCE_S))["state"]
        assert first["safety"]["state"] == "silent"
        served.model.on_safety(SafetyReport("latched", "FORCE", "It pressed."), time.monotonic())
        served.server.wake()
        second = json.loads(socket_.recv(timeout=PATIENCE_S))["state"]
        assert second["safety"]["code"] == "FORCE"
        socket_.send("17.5")
        answers = [json.loads(socket_.recv(timeout=PATIENCE_S)) for _ in range(5)]
        assert {"pulse": "17.5"} in answers


def test_pictures_are_sent_once_each_and_only_while_somebody_looks(served):
    served.pictures.put("wrist", b"first")
    with served.socket("/api/pictures") as socket_:
        assert socket_.recv(timeout=PATIENCE_S) == b"\x05wristfirst"
        assert served.pictures.viewers == 1
        with pytest.raises(TimeoutError):
            socket_.recv(timeout=0.7)
        served.pictures.put("wrist", b"second")
        assert socket_.recv(timeout=PATIENCE_S) == b"\x05wristsecond"
    served.until(lambda: served.pictures.viewers == 0, "the viewer to be forgotten")


def test_a_stop_passes_pages_that_do_not_read_their_pictures(served):
    """Megabytes wait for pages that are stuck; the button is not behind them."""
    with contextlib.ExitStack() as pages:
        stuck = [pages.enter_context(served.socket("/api/pictures")) for _ in range(8)]
        served.until(lambda: served.pictures.viewers == 8, "the pages")
        for _ in range(20):
            served.pictures.put("wrist", bytes(4_000_000))
            reply, _ = served.ask("POST", "/api/stop")
            assert reply.status == 200
        assert len(served.hand.pressed) == 20
        for page in stuck:
            page.socket.close()


def test_a_graph_that_does_not_answer_is_told(served, monkeypatch):
    monkeypatch.setattr("tmrl_ros.console.routes.ANSWER_S", 0.2)
    served.hand.answers = False
    reply, body = served.ask("POST", "/api/stop")
    assert reply.status == 409
    assert "does the graph run" in json.loads(body)["message"]


@pytest.mark.parametrize("name", ["nothing", "..", "%2e%2e", "..%2f..", ".hidden"])
def test_only_recordings_of_the_session_are_read(served, name):
    assert served.ask("GET", f"/api/episodes/{name}")[0].status == 404


def test_the_last_page_that_is_lost_presses_stop(tmp_path):
    served = Served(tmp_path, latch_s=0.3)
    try:
        with served.socket("/api/state") as second:
            with served.socket("/api/state"):
                pass
            for _ in range(8):
                second.send("1")
                time.sleep(0.1)
            assert served.hand.pressed == []
        served.until(lambda: served.hand.pressed == [("stop",)], "the stop")
        assert "lost" in served.said[0]
    finally:
        served.server.close()


def test_a_page_that_is_stuck_is_lost_too(tmp_path):
    served = Served(tmp_path, latch_s=0.3)
    try:
        with served.socket("/api/state") as socket_:
            socket_.send("1")
            served.until(lambda: served.hand.pressed == [("stop",)], "the stop")
    finally:
        served.server.close()


def test_a_taken_port_is_passed_over(tmp_path, served):
    taken = int(served.host.rpartition(":")[2])
    console = served.server._console
    for ports, works in (((taken, 0), True), ((taken,), False)):
        other = ConsoleServer(
            console, address="127.0.0.1", ports=ports, token=TOKEN, say=served.said.append
        )
        if works:
            assert f":{taken}/" not in other.start()
        else:
            with pytest.raises(OperatorError, match="console_port"):
                other.start()
        other.close()
