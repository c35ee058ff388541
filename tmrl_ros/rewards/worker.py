"""One thread that judges, so that a slow or dead model holds neither the node nor the arm."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from tmrl_ros.rewards.attempt import Answer, Case
from tmrl_ros.rewards.model import Judgement, JudgementError

BACKLOG = 256


class Judge(Protocol):
    """A model as the worker sees it; everything but `close` is called by the worker's thread."""

    @property
    def name(self) -> str:
        """What estimates call it."""

    @property
    def hash(self) -> str:
        """Hash of what it judges with."""

    @property
    def in_order(self) -> bool:
        """Whether it must see every case in its order; else the newest comes first."""

    @property
    def trouble(self) -> str:
        """Why it cannot judge at present, "" if it can."""

    def prepare(self) -> None:
        """Get ready for the first case.

        Raises:
            JudgementError: It is not ready; cases are tried all the same.
        """

    def judge(self, case: Case) -> Judgement:
        """Judge the newest frame of a case.

        Raises:
            JudgementError: It cannot.
        """

    def close(self) -> None:
        """Give up what is going on. Called by another thread."""


class Backlog:
    """Cases that wait. Late ones leave in the order they came; a live one may pass them."""

    def __init__(self, *, in_order: bool, limit: int = BACKLOG) -> None:
        self._in_order, self._limit = in_order, limit
        self._live: Case | None = None
        self._late: deque[Case] = deque()

    def __len__(self) -> int:
        """How many cases wait."""
        return len(self._late) + (self._live is not None)

    def put(self, case: Case) -> Case | None:
        """Add a case; returns the oldest one if there is no room for it any more."""
        if self._in_order:
            self._late.append(case)
        else:
            if self._live is not None:
                self._late.append(self._live)
            self._live = case
        return self._late.popleft() if len(self._late) > self._limit else None

    def take(self) -> Case | None:
        """The next case to judge."""
        if self._live is not None:
            live, self._live = self._live, None
            return live
        return self._late.popleft() if self._late else None


class RewardWorker:
    """Answers every case exactly once, sooner or later.

    Args:
        judge: Who judges.
        wake: Called by the worker's thread when answers can be fetched.
    """

    def __init__(self, judge: Judge, wake: Callable[[], None], *, backlog: int = BACKLOG) -> None:
        self.judge = judge
        self._wake = wake
        self._waiting = Backlog(in_order=judge.in_order, limit=backlog)
        self._changed = threading.Condition()
        self._answers: deque[Answer] = deque()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="reward", daemon=True)

    def start(self) -> None:
        """Begin to judge."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Cases that nobody has begun with."""
        with self._changed:
            return len(self._waiting)

    def ask(self, case: Case) -> None:
        """Take a case; never blocks."""
        if not case.whole:
            name = case.question.episode_id
            self._answer(case, None, f"reward was started in the middle of {name}")
            return
        with self._changed:
            given_up = self._waiting.put(case)
            self._changed.notify()
        if given_up is not None:
            self._answer(given_up, None, f"the reward model is {BACKLOG} observations behind")

    def answers(self) -> list[Answer]:
        """What was answered since the last call."""
        found = []
        while self._answers:
            found.append(self._answers.popleft())
        return found

    def close(self, timeout_s: float = 1.0) -> None:
        """Stop; a judgement that goes on is given up."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self.judge.close()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        with suppress(JudgementError):  # the first case will say so
            self.judge.prepare()
        while (case := self._next()) is not None:
            try:
                self._answer(case, self.judge.judge(case), "")
            except JudgementError as error:
                self._answer(case, None, str(error))
            except Exception as error:  # the model is somebody else's code; the node lives on
                self._answer(case, None, f"{self.judge.name} failed: {error!r}")

    def _next(self) -> Case | None:
        with self._changed:
            while not self._stopping:
                case = self._waiting.take()
                if case is not None:
                    return case
                self._changed.wait()
        return None

    def _answer(self, case: Case, judgement: Judgement | None, error: str) -> None:
        judge = self.judge
        self._answers.append(Answer(case, judgement, error, judge.name, judge.hash))
        if not self._stopping:
            self._wake()
