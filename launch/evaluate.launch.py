"""Compare policies blind: policies:="frozen=bundles/lift tuned=sessions/lift-3"."""

from launch import LaunchDescription

from tmrl_ros.cli.ros_launch import description


def generate_launch_description() -> LaunchDescription:
    """Return the graph; `--show-args` lists the arguments."""
    return description("evaluate")
