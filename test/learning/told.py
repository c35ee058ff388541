"""What a learner is told of an episode, and what was recorded of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import recorded

from tmrl_ros.core.types import Chunk, Episode, EpisodeOutcome, Outcome, Reward
from tmrl_ros.data.bag_reader import EpisodeRecord

ROWS = 3
NO_EDIT = np.zeros(3, np.float32)


def pieces_of(episode_id="train_000000", result=EpisodeOutcome.TIMEOUT, *, lost=()):
    """What the learner is told of a warm-up episode; estimates of `lost` decisions never come."""
    told = []
    for piece in recorded.episode(episode_id, decisions=ROWS, result=result):
        if isinstance(piece, Chunk):
            piece = replace(piece, parameters_version=0, t_context=0.0, edit=NO_EDIT)
        if isinstance(piece, Reward) and piece.decision in lost:
            continue
        if isinstance(piece, Episode | Chunk | Outcome | Reward):
            told.append(piece)
    return told


def record_of(pieces):
    record = EpisodeRecord(Path("bag"), pieces[0].episode_id)
    for piece in pieces:
        record.add(piece)
    return record


def learn(core):
    """Learn from all that waits; names of the episodes in the order of learning."""
    learned = []
    while (weights := core.work(1.0)) is not None:
        learned.append(weights.trained_through)
    return learned
