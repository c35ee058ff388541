"""A reward model small enough to train beside the robot: data, network, training, evaluation."""
