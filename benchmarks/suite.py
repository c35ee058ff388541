"""The benchmarks that need no session, one after the other: `make bench`.

Each writes `docs/benchmarks/<name>.json` by itself. One that fails is named, and the others go on.

    .venv/bin/python benchmarks/suite.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
QUICK = {
    "policy_sampling": [],
    "perception": [],
    "learner_throughput": [],
    "start_up": [],
}
"""Name and arguments; together below 20 minutes on two cores."""


def main() -> int:
    """Run them; returns 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only these")
    wanted = parser.parse_args().names or list(QUICK)
    if unknown := [name for name in wanted if name not in QUICK]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(QUICK)}")
    failed = []
    for place, name in enumerate(wanted, 1):
        print(f"\n[{place}/{len(wanted)}] {name}", flush=True)
        started = time.monotonic()
        command = [sys.executable, str(HERE / f"{name}.py"), *QUICK[name]]
        if subprocess.run(command, cwd=HERE.parent, check=False).returncode:
            failed.append(name)
        print(f"{time.monotonic() - started:.0f} s", flush=True)
    if failed:
        print(f"\nFailed: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
