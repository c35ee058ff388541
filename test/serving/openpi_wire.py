"""openpi's wire format again, written from its description and without our codec.

`packb` and `unpackb` are its msgpack with numpy arrays. `OpenpiServer` says what a server of openpi
says: metadata of its own first, then one answer per observation; a traceback as text and the end of
the connection where a key is missing. `OpenpiClient` asks as its client does.
"""

import threading
import traceback
from contextlib import contextmanager

import msgpack
import numpy as np
from websockets.sync.client import connect
from websockets.sync.server import serve


def _out(value):
    if isinstance(value, np.ndarray):
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(type(value))


def _in(value):
    if b"__ndarray__" in value:
        flat = np.frombuffer(value[b"data"], np.dtype(value[b"dtype"]))
        return flat.reshape(value[b"shape"])
    if b"__npgeneric__" in value:
        return np.dtype(value[b"dtype"]).type(value[b"data"])
    return value


def packb(value):
    return msgpack.packb(value, default=_out)


def unpackb(data):
    return msgpack.unpackb(data, object_hook=_in)


class OpenpiClient:
    def __init__(self, host, port, api_key=None):
        headers = {"Authorization": f"Api-Key {api_key}"} if api_key else None
        self._connection = connect(
            f"ws://{host}:{port}",
            compression=None,
            max_size=None,
            additional_headers=headers,
            legacy=True,
        )
        self._metadata = unpackb(self._connection.recv())

    def get_server_metadata(self):
        return self._metadata

    def infer(self, observation):
        self._connection.send(packb(observation))
        answer = self._connection.recv()
        if isinstance(answer, str):
            raise RuntimeError(f"Error in inference server:\n{answer}")
        return unpackb(answer)


class OpenpiServer:
    """Answers `infer(observation)`; `seen` is what it was asked."""

    def __init__(self, infer):
        self._infer, self.seen, self.port = infer, [], 0

    def _talk(self, connection):
        connection.send(packb({"reset_pose": [0.0, 0.5]}))
        for message in connection:
            observation = unpackb(message)
            self.seen.append(observation)
            try:
                answer = self._infer(observation)
            except KeyError:
                connection.send(traceback.format_exc())
                connection.close(1011, "Internal server error. Traceback in previous frame.")
                return
            connection.send(packb({**answer, "server_timing": {"infer_ms": 3.25}}))

    @contextmanager
    def running(self):
        with serve(self._talk, "127.0.0.1", 0, compression=None, max_size=None) as server:
            self.port = server.socket.getsockname()[1]
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join(10)
