"""Three steps in a fixed order, none without a person."""

import pytest

from tmrl_ros.robots.franka.recovery import Recovery, Step


def go(recovery, step, why_not=""):
    assert recovery.begin(step, needed=True, pressed=False) == ""
    return recovery.end(step, why_not)


def test_the_order_is_kept():
    recovery = Recovery()
    for step in (Step.HARDWARE, Step.CONTROLLERS):
        said = recovery.begin(step, needed=True, pressed=False)
        assert "Next is 'tmrl recover errors'" in said
    assert go(recovery, Step.ERRORS) == (
        True,
        "Step 1 of 3 done: the robot's errors are cleared. Next: 'tmrl recover hardware'.",
    )
    assert "recover hardware" in recovery.begin(Step.CONTROLLERS, needed=True, pressed=False)
    assert go(recovery, Step.HARDWARE)[0]
    done, said = go(recovery, Step.CONTROLLERS)
    assert done and "tmrl reset" in said


def test_a_step_may_be_repeated():
    recovery = Recovery()
    go(recovery, Step.ERRORS)
    go(recovery, Step.HARDWARE)
    assert go(recovery, Step.ERRORS)[0]
    assert recovery.done == Step.ERRORS


@pytest.mark.parametrize(
    ("needed", "pressed", "word"),
    [(False, False, "Nothing to recover"), (True, True, "release it first")],
)
def test_what_is_refused(needed, pressed, word):
    recovery = Recovery()
    assert word in recovery.begin(Step.ERRORS, needed=needed, pressed=pressed)
    assert recovery.busy is None


def test_a_step_that_failed_is_not_done():
    recovery = Recovery()
    done, said = go(recovery, Step.ERRORS, "nobody answers.")
    assert not done and said == "Step 1 of 3 failed: nobody answers."
    assert "recover errors" in recovery.begin(Step.HARDWARE, needed=True, pressed=False)


def test_one_step_at_a_time():
    recovery = Recovery()
    recovery.begin(Step.ERRORS, needed=True, pressed=False)
    assert "under way" in recovery.begin(Step.ERRORS, needed=True, pressed=False)


def test_a_new_fault_begins_anew():
    recovery = Recovery()
    go(recovery, Step.ERRORS)
    recovery.fault_came()
    assert "recover errors" in recovery.begin(Step.HARDWARE, needed=True, pressed=False)
