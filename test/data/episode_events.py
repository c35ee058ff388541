"""The graph's word on an episode, with everything filled in that a test does not care about."""

from tmrl_ros.core.types import Episode, EpisodeOutcome, EpisodeState, Phase


def event(
    episode_id: str = "train_000000",
    state: EpisodeState = EpisodeState.ENDED,
    outcome: EpisodeOutcome = EpisodeOutcome.NONE,
    decisions: int = 0,
    labelled_by: str = "",
    stamp_ns: int = 0,
    **more: object,
) -> Episode:
    """`more` are other fields; left out, numbers differ, so that a mix-up is seen."""
    values = {
        "index": 3,
        "phase": Phase.TRAIN,
        "reason": "",
        "seed": 7,
        "task": "lift",
        "prompt": "lift the red cube",
        "method": "tmrl",
        "learn": True,
        "deterministic": False,
        "max_decisions": 12,
        "robot_seconds": 4.5,
        **more,
    }
    return Episode(
        episode_id=episode_id,
        state=state,
        outcome=outcome,
        decisions=decisions,
        labelled_by=labelled_by,
        stamp_ns=stamp_ns,
        **values,
    )
