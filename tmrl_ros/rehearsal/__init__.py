"""Rehearsed faults: what can be broken on the simulated arm, and whether it held."""
