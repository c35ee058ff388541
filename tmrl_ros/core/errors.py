"""Errors whose text is a sentence for the person who can fix them."""

from __future__ import annotations


class OperatorError(Exception):
    """What is wrong, which value, where it came from and what to do; printed as it is."""


class ConfigurationError(OperatorError):
    """A wrong key, type, range or file in the configuration (exit code 2)."""


class BundleError(OperatorError):
    """A policy bundle that is missing, damaged or does not fit the robot (exit code 2)."""
