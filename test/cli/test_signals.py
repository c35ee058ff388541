import os
import signal
import subprocess
import sys

import pytest

from tmrl_ros.cli.signals import Signals


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_wait_and_gives_the_exit_code(number, code):
    with Signals() as signals:
        assert signals.exit_code == 0
        os.kill(os.getpid(), number)
        signals.wait(60.0)
        assert signals.received == number
        assert signals.exit_code == code


def test_the_first_signal_counts():
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        signals.wait(60.0)
        os.kill(os.getpid(), signal.SIGINT)
        signals.wait(60.0)
        assert signals.exit_code == 143


def test_the_end_of_a_child_ends_the_wait_and_is_no_request_to_stop():
    with Signals() as signals:
        child = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
        signals.wait(60.0)
        assert signals.received is None
        child.wait()


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with Signals():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
