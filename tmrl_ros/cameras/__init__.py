"""Real cameras: RealSense through librealsense, or pictures from a bag; no ROS."""
