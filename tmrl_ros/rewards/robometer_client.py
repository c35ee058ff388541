"""The HTTP interface of Robometer's server (robometer/evals/eval_server.py), and nothing else.

`POST /evaluate_batch_npy` takes multipart/form-data: per sample a JSON text part `sample_<i>` and a
file part `sample_<i>_trajectory_frames` with an uint8 (T, H, W, 3) array as `np.save` writes it,
and `use_frame_steps`. It answers one progress and one success probability per frame.
`/evaluate_batch` cannot carry pixels and is not used. The server does not choose frames: all T are
judged, and all samples of a request need the same T.
"""

from __future__ import annotations

import http.client
import io
import json
import math
import socket
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.rewards.model import JudgementError

MAX_ANSWER = 16 * 2**20
SLACK = 0.02  # bfloat16 arithmetic may end this far outside of 0..1


class ServerError(JudgementError):
    """The server is not there, too slow or in trouble: it may answer when it is asked again."""


@dataclass(frozen=True)
class Scores:
    """Last progress and last success probability of one clip, both in [0, 1]."""

    progress: float
    success: float


class RobometerClient:
    """One server; one request at a time.

    Args:
        url: E.g. `http://gpu-machine:8000`.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an address like http://gpu-machine:8000")
        self.url = url.rstrip("/")
        kind = http.client.HTTPSConnection
        self._kind = kind if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port = parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")
        self._socket: socket.socket | None = None

    def get(self, path: str, timeout_s: float) -> dict[str, Any]:
        """Answer of a GET request, e.g. of `/health`.

        Raises:
            ServerError: The server does not answer in time.
            JudgementError: It refuses, or answers no JSON.
        """
        return self._ask("GET", path, b"", {}, timeout_s)

    def progress(
        self, clips: Sequence[NDArray[np.uint8]], task: str, name: str, timeout_s: float
    ) -> list[Scores]:
        """Judge clips of one length against a task; one `Scores` per clip.

        Args:
            clips: (T, H, W, 3) uint8 RGB each.
            task: What the robot was told to do.
            name: What the server may call it in its log.
            timeout_s: Of the whole request.

        Raises:
            ServerError: The server does not answer in time.
            JudgementError: It refuses, or its answer cannot be used.
        """
        body, content_type = encode(clips, task, name)
        answer = self._ask(
            "POST", "/evaluate_batch_npy", body, {"Content-Type": content_type}, timeout_s
        )
        return decode(answer, [len(clip) for clip in clips])

    def abort(self) -> None:
        """Break off a request that another thread waits for."""
        with suppress(OSError, AttributeError):
            self._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]

    def _ask(
        self, method: str, path: str, body: bytes, headers: dict[str, str], timeout_s: float
    ) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        connection = self._kind(self._host, self._port, timeout=timeout_s)
        try:
            connection.connect()
            self._socket = connection.sock
            connection.request(method, self._prefix + path, body or None, headers)
            response = connection.getresponse()
            text = self._read(response, deadline)
        except TimeoutError:
            raise ServerError(f"{self.url} did not answer within {timeout_s:g} s") from None
        except ConnectionRefusedError:
            raise ServerError(f"nobody listens at {self.url}; start Robometer there") from None
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(f"{self.url} broke off: {_short(repr(error))}") from None
        finally:
            self._socket = None
            connection.close()
        if response.status != http.client.OK:
            kind = ServerError if response.status >= 500 else JudgementError
            raise kind(f"{self.url}{path} says {response.status}: {_short(_detail(text))}")
        return _parse(text, f"{self.url}{path}")

    def _read(self, response: http.client.HTTPResponse, deadline: float) -> bytes:
        """The body; a server that sends a byte now and then does not get more time for it."""
        parts: list[bytes] = []
        size = 0
        while not response.isclosed():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            if self._socket is not None:
                self._socket.settimeout(left_s)
            part = response.read1(65536)
            if not part:
                break
            size += len(part)
            if size > MAX_ANSWER:
                raise http.client.HTTPException(f"an answer of more than {MAX_ANSWER} bytes")
            parts.append(part)
        if response.length:
            raise http.client.IncompleteRead(b"".join(parts), response.length)
        return b"".join(parts)


def encode(clips: Sequence[NDArray[np.uint8]], task: str, name: str) -> tuple[bytes, str]:
    """Body and content type of a request about clips of one length."""
    boundary = uuid.uuid4().hex
    body = io.BytesIO()

    def part(disposition: str, content: bytes, kind: str = "") -> None:
        body.write(f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n".encode())
        body.write(f"Content-Type: {kind}\r\n\r\n".encode() if kind else b"\r\n")
        body.write(content + b"\r\n")

    for i, clip in enumerate(clips):
        field = f"sample_{i}_trajectory_frames"
        part(f'name="{field}"; filename="{field}.npy"', _npy(clip), "application/octet-stream")
        part(f'name="sample_{i}"', json.dumps(_sample(clip, field, task, f"{name}_{i}")).encode())
    part('name="use_frame_steps"', b"false")
    body.write(f"--{boundary}--\r\n".encode())
    return body.getvalue(), f"multipart/form-data; boundary={boundary}"


def decode(answer: dict[str, Any], lengths: Sequence[int]) -> list[Scores]:
    """The last values of every sample of an answer.

    Args:
        answer: What the server said.
        lengths: Frames that were sent per sample: as many values must come back.

    Raises:
        JudgementError: Values are missing, are too many or too few, or are no probabilities.
    """
    progress = _rows(answer, "outputs_progress", "progress_pred", lengths)
    success = _rows(answer, "outputs_success", "success_probs", lengths)
    return [
        Scores(_probability(p[-1], "progress_pred"), _probability(s[-1], "success_probs"))
        for p, s in zip(progress, success, strict=True)
    ]


def _sample(clip: NDArray[np.uint8], field: str, task: str, name: str) -> dict[str, Any]:
    trajectory = {
        "frames": {"__numpy_file__": field},
        "frames_shape": list(clip.shape),
        "task": task,
        "id": name,
        "metadata": {"subsequence_length": len(clip)},
        "video_embeddings": None,
    }
    return {"sample_type": "progress", "trajectory": trajectory}


def _npy(clip: NDArray[np.uint8]) -> bytes:
    if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[-1] != 3:
        raise ValueError(f"a clip is uint8 (T, H, W, 3), not {clip.dtype} {clip.shape}")
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(clip), allow_pickle=False)
    return file.getvalue()


def _rows(answer: dict[str, Any], block: str, key: str, lengths: Sequence[int]) -> list[list[Any]]:
    rows = (answer.get(block) or {}).get(key) if isinstance(answer, dict) else None
    if not isinstance(rows, list) or len(rows) != len(lengths):
        raise JudgementError(f"the answer has no {block}.{key} for {len(lengths)} clips")
    for row, length in zip(rows, lengths, strict=True):
        if not isinstance(row, list) or len(row) != length:
            count = len(row) if isinstance(row, list) else row
            raise JudgementError(f"{key} has {count} values for {length} frames")
    return rows


def _probability(value: Any, key: str) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not -SLACK <= value <= 1 + SLACK:
        raise JudgementError(f"{key} ends in {value!r}, which is not in 0..1")
    return min(max(float(value), 0.0), 1.0)


def _parse(text: bytes, where: str) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError:
        raise JudgementError(f"{where} answers no JSON: {_short(_detail(text))}") from None
    if not isinstance(answer, dict):
        raise JudgementError(f"{where} answers {type(answer).__name__} where an object is due")
    return answer


def _detail(text: bytes) -> str:
    """The server's own words of an error answer (FastAPI: `{"detail": ...}`)."""
    with suppress(ValueError, AttributeError):
        return str(json.loads(text).get("detail", text.decode()))
    return text.decode(errors="replace")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:197]}..."
