"""The action `run_episodes`: its messages and what `session.runner` makes of them."""

from __future__ import annotations

from tmrl_msgs.action import RunEpisodes
from tmrl_ros.core.types import Episode, Phase
from tmrl_ros.session.runner import Goal, GoalResult, GoalRunner


def goal_from_msg(request: RunEpisodes.Goal, method: str) -> Goal:
    """Goal from a request; `method` is meant where the request names none."""
    return Goal(
        phase=Phase(request.phase),
        episodes=int(request.episodes),
        start_index=int(request.start_index),
        seed=int(request.seed),
        method=request.method or method,
        learn=bool(request.learn),
        deterministic=bool(request.deterministic),
        max_robot_seconds=float(request.max_robot_seconds),
        stop_window=int(request.stop_window),
        stop_success_rate=float(request.stop_success_rate),
    )


def feedback_to_msg(episode: Episode, runner: GoalRunner) -> RunEpisodes.Feedback:
    """What is told of a goal when one of its episodes has ended."""
    return RunEpisodes.Feedback(
        episode_id=episode.episode_id,
        index=episode.index,
        outcome=int(episode.outcome),
        successes=runner.successes,
        robot_seconds=runner.robot_seconds,
    )


def result_to_msg(result: GoalResult) -> RunEpisodes.Result:
    """How a goal ended."""
    return RunEpisodes.Result(
        success=result.success,
        message=result.message,
        episodes=result.episodes,
        successes=result.successes,
        robot_seconds=result.robot_seconds,
    )
