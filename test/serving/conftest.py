"""Lets the tests of this folder share a model and the wire format of openpi."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
