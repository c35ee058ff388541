"""A small server that speaks Robometer's HTTP interface, and can be made to fail.

What it answers is computed from the pixels, so that a client with wrong frames, order or padding
gets another number: progress is the mean red, success the mean green of every frame.
"""

import io
import json
import threading
import time
from collections import deque
from contextlib import suppress
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

INFO = {
    "model_path": "robometer/Robometer-4B",
    "num_gpus": 1,
    "experiment_config": {
        "data": {"max_frames": 8},
        "loss": {"progress_loss_type": "discrete", "progress_discrete_bins": 10},
    },
    "model_architecture": {"model_class": "RBM", "total_parameters": 4447004940},
}


class RobometerServer:
    """Listens on a free port of this machine.

    `faults` are what the next evaluations do instead of answering: an HTTP status, "slow" (for
    `slow_s`), "drip" (a byte now and then), "garbage", "cut" (half an answer), "short" (too few
    values), "logits" (values far outside of 0..1), "blind" (no success head).
    """

    def __init__(self, port=0):
        self.faults = deque()
        self.slow_s = 0.0
        self.healthy = True
        self.info = json.loads(json.dumps(INFO))
        self.requests = []  # (paths of GETs, samples of evaluations) in their order
        self.busy = self.most_busy = 0
        self.gate = threading.Event()  # evaluations wait for it
        self.gate.set()
        self._lock = threading.Lock()
        owner = self

        class Handler(_Handler):
            server_double = owner

        self._server = _Listener(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def evaluations(self):
        return [item for item in self.requests if not isinstance(item, str)]

    def die(self):
        """Stop listening and cut whoever waits for an answer."""
        self._server.shutdown()
        self._server.cut()
        self._server.server_close()
        self.gate.set()
        self._thread.join(5.0)

    def enter(self):
        with self._lock:
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)

    def leave(self):
        with self._lock:
            self.busy -= 1


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, *args):
        self.connections = []
        super().__init__(*args)

    def get_request(self):
        connection, address = super().get_request()
        self.connections.append(connection)
        return connection, address

    def cut(self):
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(2)

    def handle_error(self, request, client_address):
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server_double: RobometerServer

    def log_message(self, *_):
        """Be quiet."""

    def do_GET(self):  # noqa: N802
        double = self.server_double
        double.requests.append(self.path)
        if self.path == "/health":
            state = "healthy" if double.healthy else "unhealthy"
            self._answer(200, {"status": state, "available_gpus": 1, "total_gpus": 1})
        elif self.path == "/model_info":
            self._answer(200, double.info)
        else:
            self._answer(404, {"detail": "Not Found"})

    def do_POST(self):  # noqa: N802
        double = self.server_double
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/evaluate_batch_npy":
            self._answer(404, {"detail": "Not Found"})
            return
        try:
            samples = parse(self.headers["Content-Type"], body)
        except (ValueError, KeyError) as error:
            self._answer(422, {"detail": str(error)})
            return
        double.requests.append(samples)
        double.enter()
        try:
            double.gate.wait(30.0)
            fault = double.faults.popleft() if double.faults else None
            answer = self._evaluate(samples, fault)
        finally:
            double.leave()  # before the answer, upon which the client may ask again at once
        self._reply(answer, fault)

    def _evaluate(self, samples, fault):
        if fault == "slow":
            time.sleep(self.server_double.slow_s)
        progress = [[float(f[..., 0].mean()) / 255 for f in s["frames"]] for s in samples]
        success = [[float(f[..., 1].mean()) / 255 for f in s["frames"]] for s in samples]
        if fault == "short":
            progress = [row[:4] for row in progress]
        if fault == "logits":
            progress = [[value * 20 - 10 for value in row] for row in progress]
        return {
            "outputs_preference": None,
            "outputs_progress": {"progress_pred": progress},
            "outputs_success": None if fault == "blind" else {"success_probs": success},
        }

    def _reply(self, answer, fault):
        if isinstance(fault, int):
            self._answer(fault, {"detail": "CUDA out of memory"})
        elif fault == "garbage":
            self._send(200, b"<html>proxy error</html>")
        elif fault == "cut":
            self._send(200, json.dumps(answer).encode(), cut=True)
        elif fault == "drip":
            self._drip(json.dumps(answer).encode())
        else:
            self._answer(200, answer)

    def _answer(self, status, value):
        self._send(status, json.dumps(value).encode())

    def _send(self, status, data, *, cut=False):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)

    def _drip(self, data):
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        for byte in data:
            self.wfile.write(bytes([byte]))
            time.sleep(0.02)


def parse(content_type, body):
    """Samples of a request, as the server's own handler puts them together."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    files, texts = {}, {}
    for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
        name = part.get_param("name", header="content-disposition")
        filename = part.get_filename()
        content = part.get_payload(decode=True)
        if filename is None:
            texts[name] = content.decode()
        elif filename.endswith(".npy"):
            files[name] = np.load(io.BytesIO(content), allow_pickle=False)
    if texts.get("use_frame_steps") not in ("true", "false"):
        raise ValueError("use_frame_steps must be true or false")
    samples = []
    while f"sample_{len(samples)}" in texts:
        samples.append(_sample(json.loads(texts[f"sample_{len(samples)}"]), files))
    if not samples:
        raise ValueError("no samples")
    if len({len(sample["frames"]) for sample in samples}) > 1:
        raise ValueError("stack expects each tensor to be equal size")
    return samples


def _sample(sample, files):
    trajectory = sample["trajectory"]
    frames = files[trajectory["frames"]["__numpy_file__"]]
    if sample["sample_type"] != "progress" or list(frames.shape) != trajectory["frames_shape"]:
        raise ValueError("the sample does not describe its frames")
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(f"frames are {frames.dtype} {frames.shape}")
    if trajectory["metadata"]["subsequence_length"] != len(frames):
        raise ValueError("subsequence_length is not the number of frames")
    return {"frames": frames, "task": trajectory["task"], "id": trajectory["id"]}
