"""Fine-tune the policy on the robot, with evaluations before and after."""

from launch import LaunchDescription

from tmrl_ros.cli.ros_launch import description


def generate_launch_description() -> LaunchDescription:
    """Return the graph; `--show-args` lists the arguments."""
    return description("finetune")
