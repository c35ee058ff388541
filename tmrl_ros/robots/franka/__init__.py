"""A real Franka as its driver sees it, without ROS: states, faults, gripper, recovery, checks."""
