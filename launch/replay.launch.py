"""Play a session's sensors through perception and policy again, beside what was recorded."""

from launch import LaunchDescription

from tmrl_ros.cli.replay_launch import replay_description


def generate_launch_description() -> LaunchDescription:
    """Return the one process of `tmrl replay`; `--show-args` lists the arguments."""
    return replay_description()
