"""Episodes as they count now: with the estimates and cuts that came after they were recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tmrl_ros.core.types import EpisodeOutcome, EpisodeState, Reward
from tmrl_ros.data.assembler import by_person
from tmrl_ros.data.bag_reader import EpisodeRecord
from tmrl_ros.data.reward_sidecar import chosen, read_sidecar
from tmrl_ros.data.trims import read_trims


def outcome_by(rewards: Sequence[Reward], recorded: EpisodeOutcome) -> EpisodeOutcome:
    """How an episode ended that no person labelled, by other estimates than the recorded ones.

    Success, if they say so at any time; otherwise what ended it then, and running out of time where
    that was a success that they deny. What no estimate decides stays.
    """
    if recorded is EpisodeOutcome.ABORTED or not any(reward.valid for reward in rewards):
        return recorded
    if any(reward.valid and reward.success for reward in rewards):
        return EpisodeOutcome.SUCCESS
    return EpisodeOutcome.TIMEOUT if recorded is EpisodeOutcome.SUCCESS else recorded


def as_it_counts(session: Path, record: EpisodeRecord) -> EpisodeRecord:
    """An episode with the estimates that count for its session, and the outcome they imply.

    A person's label stays above all estimates. Where the episode was cut comes with it.

    Raises:
        BagError: A file beside the bag is damaged.
    """
    record = replace(record, trim=read_trims(session).get(record.episode_id))
    model_hash = chosen(session)
    sidecar = read_sidecar(record.path, model_hash) if model_hash else None
    if sidecar is None:
        return record
    rewards = list(sidecar.rewards)
    events = [
        replace(event, outcome=outcome_by(rewards, event.outcome))
        if event.state is EpisodeState.ENDED and not by_person(event)
        else event
        for event in record.events
    ]
    return replace(record, rewards=rewards, events=events)
