"""Bags, transitions, demonstrations, and files that survive a crash."""
