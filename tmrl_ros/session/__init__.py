"""A session without ROS: episodes, the schedule of phases, statistics, the report."""
