#!/bin/bash
# ROS, this package, then the command; exec, so that Ctrl-C reaches it.
set -e
source /opt/ros/jazzy/setup.bash
source /opt/tmrl/install/setup.bash
export PATH="/opt/tmrl/install/lib/tmrl_ros:${PATH}"  # colcon puts console scripts there
export PYTHONPATH="/opt/tmrl/venv/lib/python3.12/site-packages:${PYTHONPATH}"
exec "$@"
