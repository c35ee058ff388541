"""Episodes, records and an operator for the tests of the console."""

from __future__ import annotations

from concurrent.futures import Future

from episode_events import event

from tmrl_ros.console.buttons import Answer
from tmrl_ros.core.types import EpisodeOutcome, EpisodeState
from tmrl_ros.session.records import EpisodeRecord


def episode(name="train_000003", state=EpisodeState.RUNNING, outcome=EpisodeOutcome.NONE):
    return event(name, state, outcome, index=int(name[-6:]))


def record(index, outcome="success", phase="train", attempt=0, **more):
    return EpisodeRecord(
        episode_id=f"{phase}_{index:06d}",
        index=index,
        phase=phase,
        outcome=outcome,
        attempt=attempt,
        robot_seconds=9.0,
        reset_seconds=3.0,
        **more,
    )


class Hand:
    """An operator who remembers what was pressed."""

    def __init__(self):
        self.pressed = []
        self.answers = True

    def _press(self, *words):
        self.pressed.append(words)
        found = Future()
        if self.answers:
            found.set_result(Answer(words[0] != "reset", f"{words[0]} it is"))
        return found

    def stop(self):
        return self._press("stop")

    def reset(self):
        return self._press("reset")

    def start(self):
        return self._press("start")

    def pause(self):
        return self._press("pause")

    def prompt(self, text):
        return self._press("prompt", text)

    def hold(self, held):
        self.pressed.append(("hold", held))

    def label(self, outcome, episode):
        return self._press("label", outcome, episode)
