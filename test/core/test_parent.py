import os
import subprocess
import sys

from tmrl_ros.core.parent import PARENT

PROGRAM = """
from tmrl_ros.core.parent import end_with_parent_if_wanted
end_with_parent_if_wanted()
print("alive")
"""


def said(parent):
    environment = {**os.environ, PARENT: parent}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    ).stdout


def test_a_process_goes_on_while_its_parent_lives():
    assert said(str(os.getpid())) == "alive\n"


def test_a_process_whose_parent_died_before_it_asked_ends_at_once():
    assert said("1") == ""


def test_nobody_is_tied_to_a_parent_without_asking():
    assert said("") == "alive\n"
