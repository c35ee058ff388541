"""A reward model whose answers are in the pixels, and that can be made to fail or wait."""

import threading

from tmrl_ros.rewards.model import Judgement, JudgementError


class FakeModel:
    """Progress is the red of the first pixel, success its green; blue is a failure.

    It waits for `go`. `seen` are the prompts it was begun with and the reds it was shown.
    """

    name, hash, cameras, calibration = "fake", "f00d", (), None

    def __init__(self):
        self.seen = []
        self.go = threading.Event()
        self.go.set()

    def begin_episode(self, prompt):
        self.seen.append(prompt)

    def observe(self, images):
        assert self.go.wait(20.0)
        red, green, blue = (int(value) for value in images[0][0, 0])
        self.seen.append(red)
        if blue:
            raise JudgementError("it is too blue") if blue < 200 else RuntimeError("broken")
        return Judgement(red / 255, green / 255)
