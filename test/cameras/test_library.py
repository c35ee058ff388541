"""What is said where librealsense is missing."""

import subprocess
import sys

import pytest

MISSING = """
import importlib, sys
{block}
from tmrl_ros.cameras.library import librealsense
from tmrl_ros.core.errors import OperatorError
try:
    librealsense()
except OperatorError as error:
    print(error)
"""
NO_WHEEL = """
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name == "pyrealsense2":
            raise ModuleNotFoundError("no such module", name=name)
sys.meta_path.insert(0, Nothing())
"""


@pytest.mark.parametrize(
    ("block", "words"),
    [(NO_WHEEL, ("pyrealsense2 is not installed", "make setup", "realsense_topics"))],
)
def test_a_missing_library_is_one_sentence_with_the_remedy(block, words):
    done = subprocess.run(
        [sys.executable, "-c", MISSING.format(block=block)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert all(word in done.stdout for word in words)
    assert len(done.stdout.strip().splitlines()) == 1
