import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
FOLDERS = ("integration", "doubles", "faults", "policies", "console")
sys.path[:0] = [str(TESTS / name) for name in FOLDERS]
