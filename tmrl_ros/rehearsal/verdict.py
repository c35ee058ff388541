"""What was seen of a rehearsed fault, what is thought of it, and the table of many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.rehearsal.catalogue import BY_NAME, Expected, Fault

BEGIN, END = "<!-- rehearsed faults: begin -->", "<!-- rehearsed faults: end -->"


@dataclass(frozen=True)
class Seen:
    """What a witness saw after a fault; times are wall seconds since the fault.

    Attributes:
        latched: Code of the stop, "" if it did not latch.
        hold_s: When the last target to follow, or else the hold, went out; None: the arm went on.
        said: The sentence in which it was said.
        moved_while_latched: Targets to follow that went out while the stop was latched.
        works_again_s: When the policy moved the arm again after the fault was undone and the stop
            reset; None: it did not in the time.
    """

    latched: str = ""
    hold_s: float | None = None
    said: str = ""
    moved_while_latched: int = 0
    works_again_s: float | None = None


@dataclass(frozen=True)
class Result:
    """A fault and what came of it; `missed` says what was not as it must be."""

    fault: str
    seen: Seen
    detail: str = ""
    skipped: str = ""
    missed: list[str] = field(default_factory=list)


def judge(fault: Fault, seen: Seen, detail: str = "") -> Result:
    """Compare what was seen with what must come of a fault."""
    missed = []
    if seen.moved_while_latched:
        missed.append(f"{seen.moved_while_latched} targets while latched")
    if fault.expected is Expected.LATCHES and not seen.latched:
        missed.append("the stop did not latch")
    if fault.expected is Expected.STANDS and not seen.latched and seen.hold_s is None:
        missed.append("the arm went on")
    if fault.expected is Expected.GOES_ON and (seen.latched or seen.hold_s is not None):
        missed.append("the arm did not go on")
    if seen.works_again_s is None:
        missed.append("it did not work again")
    return Result(fault.name, seen, detail, missed=missed)


def write_json(path: Path, results: Sequence[Result], about: dict[str, object]) -> None:
    """Write `faults.json`: figures of the whole and every run."""
    done = [result for result in results if not result.skipped]
    summary = {
        **about,
        "runs": len(done),
        "missed": sum(bool(result.missed) for result in done),
        "skipped": sorted({f"{r.fault}: {r.skipped}" for r in results if r.skipped}),
        "results": [asdict(result) for result in results],
    }
    path.write_text(json.dumps(summary, indent=1) + "\n")


def table(results: Sequence[Result]) -> str:
    """Markdown: one row per fault, with the median and the largest of several runs."""
    rows = [
        "| fault | what is done | runs | what it said | fault to hold, median (largest) "
        "| worked again | missed |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, fault in BY_NAME.items():
        runs = [result for result in results if result.fault == name]
        done = [result for result in runs if not result.skipped]
        if not runs:
            continue
        if not done:
            rows.append(f"| `{name}` | {fault.what} | 0 | skipped: {runs[0].skipped} | | | |")
            continue
        holds = [result.seen.hold_s for result in done if result.seen.hold_s is not None]
        time = f"{median(holds):.2f} s ({max(holds):.2f} s)" if holds else "went on"
        again = sum(result.seen.works_again_s is not None for result in done)
        missed = sum(bool(result.missed) for result in done)
        said = next((result.seen.said for result in done if result.seen.said), "")
        said = said.replace("|", "/").replace("\n", " ")
        rows.append(
            f"| `{name}` | {fault.what} | {len(done)} | {said} | {time} | {again} of {len(done)} "
            f"| {missed} |"
        )
    return "\n".join(rows)


def write_docs(page: Path, results: Sequence[Result]) -> None:
    """Put the table into a page, between its two marks.

    Raises:
        ConfigurationError: The page has no such marks.
    """
    text = page.read_text()
    if BEGIN not in text or END not in text:
        raise ConfigurationError(f"{page} has no place for the table: put {BEGIN} and {END} in it.")
    head, rest = text.split(BEGIN, 1)
    page.write_text(f"{head}{BEGIN}\n\n{table(results)}\n\n{END}{rest.split(END, 1)[1]}")
