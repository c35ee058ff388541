"""Observations whose pixels tell what a model has to say about them."""

import numpy as np

from tmrl_ros.rewards.answers import Question
from tmrl_ros.rewards.attempt import Attempts


def image(progress, success=0.0, blue=0.0, size=(4, 6)):
    """A picture with the progress in its red and the success in its green."""
    pixel = np.round(255 * np.array([progress, success, blue])).astype(np.uint8)
    return np.broadcast_to(pixel, (*size, 3)).copy()


def question(decision, episode="train_000000", asked_s=0.0):
    return Question(1000 + decision, 40 + decision, episode, decision, asked_s)


def cases(*progress, success=0.0, episode="train_000000", attempts=None, cameras=1):
    """One case per decision of an attempt."""
    attempts = attempts or Attempts()
    return [
        attempts.take(question(k, episode), "lift the cube", [image(value, success)] * cameras)
        for k, value in enumerate(progress)
    ]
