"""Compare policies blind: overrides:="comparison.contenders=[...]"."""

from launch import LaunchDescription

from tmrl_ros.cli.ros_launch import description


def generate_launch_description() -> LaunchDescription:
    """Return the graph; `--show-args` lists the arguments."""
    return description("evaluate")
