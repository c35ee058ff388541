"""The software stop: rules, a latch and the gate every target passes. Plain Python, no rclpy."""
