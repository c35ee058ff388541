"""How a person moves the arm: joysticks and keys, as plain Python without rclpy."""
