"""A latch: once set it stays set until a person resets it, and remembers the first cause."""

from __future__ import annotations

from collections.abc import Sequence

from tmrl_ros.safety.causes import Cause, Code


class Latch:
    """The stop. It starts latched, so that nothing moves before a person has said so."""

    def __init__(self, cause: Cause, wall_s: float) -> None:
        """Latch at once with `cause` at wall time `wall_s` (monotonic seconds)."""
        self._cause: Cause | None = cause
        self.latched_at_s = wall_s
        self.count = 0
        """How often it went from reset to latched."""

    @property
    def cause(self) -> Cause | None:
        """Why it is latched, or None when it is not."""
        return self._cause

    def set(self, cause: Cause, wall_s: float) -> bool:
        """Latch; return whether it was open before.

        The first cause stays, because the ones after it are mostly its consequences. Only a
        person's stop replaces it.
        """
        was_open = self._cause is None
        if was_open or cause.code is Code.OPERATOR_STOP:
            self._cause = cause
            self.latched_at_s = wall_s
        if was_open:
            self.count += 1
        return was_open

    def reset(self, present: Sequence[Cause]) -> tuple[bool, str]:
        """Open the latch unless a cause is present.

        Args:
            present: Causes that hold at this moment.

        Returns:
            Whether it is open now, and a sentence that says why not.
        """
        if self._cause is None:
            return True, "The stop was not latched; nothing to reset."
        if present:
            return False, "Not reset: " + " ".join(item.message for item in present)
        before = self._cause
        self._cause = None
        return True, f"Reset after {before.code}. The arm may move now."
