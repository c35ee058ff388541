"""When a person takes the arm: the moment at which an episode that waits for them begins."""

from __future__ import annotations


class Grasp:
    """Tells from a person's commands when they take the arm; times are monotonic wall seconds.

    Whoever held it before, while the arm went home for instance, has to let go first: an episode
    must not begin because a hand still lies on the button.
    """

    def __init__(self, timeout_s: float) -> None:
        """Begin with nobody.

        Args:
            timeout_s: Silence after which a person has let go.
        """
        self._timeout_s = timeout_s
        self._engaged = False
        self._heard_s = float("-inf")

    def taken(self, engaged: bool, now_s: float) -> bool:
        """Whether this command takes the arm that nobody held before it."""
        held = self._engaged and now_s - self._heard_s <= self._timeout_s
        self._engaged, self._heard_s = engaged, now_s
        return engaged and not held
