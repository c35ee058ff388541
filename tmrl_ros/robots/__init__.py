"""What drives the arm, as plain Python under the driver nodes."""
