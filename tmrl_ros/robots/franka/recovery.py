"""Guided recovery: three calls in a fixed order, each asked for by a person, none by itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Step(IntEnum):
    """The calls, in their order."""

    ERRORS = 1
    HARDWARE = 2
    CONTROLLERS = 3

    @property
    def word(self) -> str:
        """As in `tmrl recover <word>` and the service `robot/recover_<word>`."""
        return self.name.lower()


WHAT = {
    Step.ERRORS: "the robot's errors are cleared",
    Step.HARDWARE: "its hardware component is active",
    Step.CONTROLLERS: "state broadcasters and controller are active; the arm holds where it is",
}


@dataclass
class Recovery:
    """How far a person has come; any new fault begins it anew.

    Attributes:
        done: Last step that succeeded, 0 before the first.
        busy: Step whose call is under way.
    """

    done: int = 0
    busy: Step | None = None

    def begin(self, step: Step, *, needed: bool, pressed: bool) -> str:
        """Begin a step.

        Args:
            step: Which.
            needed: Whether the robot needs to be recovered at all.
            pressed: Whether its stop button is pressed.

        Returns:
            Why it is refused, as a sentence; "" when it may begin.
        """
        if self.busy is not None:
            return f"The step '{self.busy.word}' is still under way."
        if not needed:
            return "Nothing to recover: no fault is latched and everything is active."
        if pressed:
            return "The robot's stop button is pressed: release it first."
        if step > self.done + 1:
            missing = Step(self.done + 1)
            return (
                f"Not yet: the order is errors, hardware, controllers. Next is "
                f"'tmrl recover {missing.word}'."
            )
        self.busy = step
        return ""

    def end(self, step: Step, why_not: str = "") -> tuple[bool, str]:
        """End a step that was begun.

        Returns:
            Whether it succeeded, and a sentence that says what comes next.
        """
        self.busy = None
        if why_not:
            return False, f"Step {step.value} of 3 failed: {why_not}"
        self.done = int(step)
        said = f"Step {step.value} of 3 done: {WHAT[step]}."
        if step is Step.CONTROLLERS:
            self.done = 0
            return True, f"{said} Look at the cell, then 'tmrl reset'."
        return True, f"{said} Next: 'tmrl recover {Step(step + 1).word}'."

    def fault_came(self) -> None:
        """A new fault: what was done before does not count."""
        self.done = 0
