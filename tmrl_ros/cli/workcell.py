"""The cell as a URDF: the arm that is driven, cameras as calibrated, boxes as supervised."""

from __future__ import annotations

from pathlib import Path

from tmrl_ros.core.config import Config
from tmrl_ros.core.load import config_folder


def workcell_urdf(config: Config, config_file: Path) -> str:
    """What robot_state_publisher gets as `robot_description`.

    Args:
        config: The resolved configuration.
        config_file: The file that holds it.
    """
    import xacro  # on ROS machines it comes with ROS

    source = config_folder().parent / "urdf" / "workcell.urdf.xacro"
    mappings = {"arm_id": config.robot.model, "cell": str(config_file.absolute())}
    return str(xacro.process_file(str(source), mappings=mappings).toxml())
