"""Judge a session again beside what goes on: in a thread of its own, one at a time."""

from __future__ import annotations

import threading
from pathlib import Path

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.rewards.offline import offline_model

COMMAND = "service reward/relabel"


class Relabelling:
    """What `tmrl reward relabel` does, for a graph that is running.

    The model is read anew each time: the bundle that lies there now, not the one that judges live.

    Args:
        config: Names the model.
        session: Folder whose recorded episodes are judged.
    """

    def __init__(self, config: Config, session: Path) -> None:
        self._config, self._session = config, session
        self._thread: threading.Thread | None = None
        self.text = ""
        """How far it is, how it ended, or what went wrong; empty before the first time."""

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self) -> tuple[bool, str]:
        """Start; whether that was possible, and a sentence about it. Never blocks."""
        if self._config.reward.backend == "simulator":
            return False, "The simulator's truth judges here: there is no model to judge again with"
        if self.running:
            return False, f"It is judged again already: {self.text}"
        self.text = "begun"
        self._thread = threading.Thread(target=self._run, name="relabel", daemon=True)
        self._thread.start()
        return True, f"Judging {self._session.name} again; reward/status says how far it is"

    def _run(self) -> None:
        from tmrl_ros.rewards.learned.relabel import relabel, summary  # torch, for those who ask

        try:
            model = offline_model(self._config)
            self.text = summary(
                self._session, relabel(self._session, model, COMMAND, self._show), model
            )
        except OperatorError as error:
            self.text = str(error)
        except Exception as error:  # the model is somebody else's code; the node lives on
            self.text = f"Judging again failed: {error!r}"

    def _show(self, done: int, total: int) -> None:
        self.text = f"{done} of {total} episodes"
