"""Where cameras hang: ChArUco boards, the hand-eye problem, and pictures that show the result."""
