"""Fine-tune a pretrained robot policy on a Franka arm, over ROS 2."""
