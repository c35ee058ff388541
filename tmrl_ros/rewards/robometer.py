"""The real Robometer behind its HTTP server: asked politely, and never believed to be there."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from typing import Any

import numpy as np

from tmrl_ros.rewards.attempt import Case
from tmrl_ros.rewards.frames import clips
from tmrl_ros.rewards.model import Judgement, JudgementError
from tmrl_ros.rewards.robometer_client import RobometerClient, ServerError

LONGEST_PAUSE_S = 30.0


class RobometerJudge:
    """Asks a Robometer server about the prefix of an attempt.

    A failed request is repeated after a pause that doubles. After `retries` failures the server
    counts as gone: cases are answered at once with the reason, and it is looked for again after a
    pause that doubles up to half a minute.

    Args:
        url: The server.
        frames: Frames per clip, unless the server names a number of its own.
        timeout_s: Of one request.
        retries: Attempts at one case.
        backoff_s: First pause after a failure.
    """

    in_order = False

    def __init__(
        self, url: str, *, frames: int, timeout_s: float, retries: int, backoff_s: float
    ) -> None:
        self._client = RobometerClient(url)
        self._frames = frames
        self._timeout_s, self._retries, self._backoff_s = timeout_s, retries, backoff_s
        self._closed = threading.Event()
        self._known = False
        self._pause_s, self._not_before_s = backoff_s, 0.0
        self.name, self.hash, self.trouble = "robometer_http", "", ""

    def prepare(self) -> None:
        """Look at `/health` and `/model_info`.

        Raises:
            ServerError: The server is not there or not healthy.
            JudgementError: It is no Robometer.
        """
        health = self._client.get("/health", self._timeout_s)
        if health.get("status") != "healthy":
            raise ServerError(f"{self._client.url} is not healthy: {health}")
        info = self._client.get("/model_info", self._timeout_s)
        wanted = _setting(info, "data", "max_frames")
        if isinstance(wanted, int) and wanted > 1:
            self._frames = wanted
        path = str(info.get("model_path", "")) or "unnamed"
        described = json.dumps([path, info.get("experiment_config")], sort_keys=True)
        self.name = f"robometer_http {path}"
        self.hash = hashlib.sha256(described.encode()).hexdigest()[:16]
        self._known = True

    def judge(self, case: Case) -> Judgement:
        """Judge the newest frame of a case.

        Raises:
            JudgementError: The server does not answer, or with what is no judgement.
        """
        began_s = time.monotonic()
        if began_s < self._not_before_s:
            left_s = self._not_before_s - began_s
            raise JudgementError(f"{self.trouble}; it is asked again in {left_s:.0f} s")
        pauses = [] if self.trouble else [self._backoff_s * 2**i for i in range(self._retries - 1)]
        for pause_s in pauses:
            try:
                return self._ask(case, began_s)
            except ServerError:
                if self._closed.wait(pause_s):
                    raise
        try:
            return self._ask(case, began_s)
        except ServerError as error:
            self._give_up(str(error))
            raise

    def close(self) -> None:
        """Break off what is going on."""
        self._closed.set()
        self._client.abort()

    def _ask(self, case: Case, began_s: float) -> Judgement:
        if not self._known:
            self.prepare()
        name = f"{case.question.episode_id}_{case.question.decision}"
        scores = self._client.progress(
            clips(case.frames, self._frames), case.attempt.prompt, name, self._timeout_s
        )
        self.trouble, self._pause_s = "", self._backoff_s
        return Judgement(
            progress=float(np.mean([item.progress for item in scores])),
            success_probability=float(np.mean([item.success for item in scores])),
            latency_ms=(time.monotonic() - began_s) * 1e3,
        )

    def _give_up(self, why: str) -> None:
        """Do not let every observation wait for a server that is gone."""
        self.trouble = why
        self._known = False  # whoever answers next may be another model
        self._not_before_s = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)


def _setting(info: dict[str, Any], section: str, key: str) -> Any:
    """`experiment_config.<section>.<key>` of a model's description, None if it has none."""
    found = info.get("experiment_config")
    for name in (section, key):
        found = found.get(name) if isinstance(found, dict) else None
    return found
