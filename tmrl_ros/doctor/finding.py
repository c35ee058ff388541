"""What a check found: how bad, in one line, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is. `SKIPPED` was not looked at, for the reason given."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """One line of the preflight.

    Attributes:
        check: What was looked at, in a word or two.
        level: How bad it is.
        text: What was found, with the number.
        remedy: What to do; empty when nothing is.
    """

    check: str
    level: Level
    text: str
    remedy: str = ""


def good(check: str, text: str) -> Finding:
    """Nothing to do."""
    return Finding(check, Level.GOOD, text)


def warning(check: str, text: str, remedy: str) -> Finding:
    """Works, but not as well as it should."""
    return Finding(check, Level.WARNING, text, remedy)


def bad(check: str, text: str, remedy: str) -> Finding:
    """Must be mended before the arm moves."""
    return Finding(check, Level.BAD, text, remedy)


def skipped(check: str, text: str) -> Finding:
    """Not looked at."""
    return Finding(check, Level.SKIPPED, text)
