"""Record demonstrations that a person drives; with method:=base episodes of the policy."""

from launch import LaunchDescription

from tmrl_ros.cli.ros_launch import description


def generate_launch_description() -> LaunchDescription:
    """Return the graph; `--show-args` lists the arguments."""
    return description("collect")
