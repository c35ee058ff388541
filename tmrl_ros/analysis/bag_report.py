"""`tmrl bag report`: the session report's page, with everything that bags alone can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pyarrow as pa
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tmrl_ros.analysis.charts import Chart, charts
from tmrl_ros.analysis.digest import Digest, digest_session
from tmrl_ros.analysis.key_frames import draw_sheet, shown_episodes
from tmrl_ros.analysis.rows import (
    CameraAgeRow,
    DecisionRow,
    EpisodeRow,
    LabelRow,
    MessageRow,
    SafetyRow,
    SkippedRow,
    table_of,
    write_table,
)
from tmrl_ros.analysis.series import figure_tables
from tmrl_ros.data.episodes_log import write_bytes_atomic, write_json_atomic
from tmrl_ros.session.judged import rate_of, recount
from tmrl_ros.session.page import Picture, render_page
from tmrl_ros.session.plots import DPI, PHASES, STYLE, WIDTH_IN, draw_plots
from tmrl_ros.session.records import EpisodeRecord, of_phase, still_valid
from tmrl_ros.session.report import TRAIN, episode_figures

FOLDER = "bag_report"
STOPS_ON_PAGE = 40
TOLD_ABOVE = {
    "success": "Every dot is an episode.",
    "before_after": "Evaluations on the same start states.",
    "robot_time": "Time of the robot's clock, added up.",
    "t_context": "A column is an episode, a row a chunk: 0 follows the context, 1 explores.",
    "learner": "As the learner said it when each episode ended.",
}


def build_bag_report(
    session: Path, out: Path | None = None, *, tell: Callable[[int, int], None] | None = None
) -> Path:
    """Write `report.html`, `report.json`, `figures/` and `tables/` from a session's bags.

    Outcomes are those that the bags hold, with the cuts and the estimates that count now where the
    session's folder has them beside its bags.

    Args:
        session: A session, or a folder of bags.
        out: Where to; `bag_report` in the session by default.
        tell: Told after every bag how many are read, and of how many.

    Returns:
        The page.

    Raises:
        BagError: There is no bag of an ended episode.
        OSError: The file system refuses.
    """
    out = out or session / FOLDER
    digest = digest_session(session, tell=tell)
    records, relabelled = recount(session, digest.records)
    report = {**_figures(digest, records), "relabelled": relabelled}
    valid = still_valid(records, report["method"])
    phase = shown_phase(valid)
    tables = _tables(digest)
    for name, table in tables.items():
        write_table(table, out / "tables" / name)
    pictures = _pictures(digest, valid, report, phase, out)
    write_json_atomic(out / "report.json", report)
    page = render_page(_for_page(report, digest), report["prompt"], pictures)
    write_bytes_atomic(out / "report.html", page.encode())
    return out / "report.html"


def shown_phase(records: Sequence[EpisodeRecord]) -> str:
    """The phase whose episodes plots over episodes show: training, or what there is most of."""
    if of_phase(records, TRAIN):
        return TRAIN
    counts = Counter(record.phase for record in records if not record.aborted)
    return counts.most_common(1)[0][0] if counts else TRAIN


def _figures(digest: Digest, records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    about = digest.about
    seed = about.get("session_seed", "")
    methods = [record.method for record in records if record.phase == TRAIN and record.method]
    method = methods[-1] if methods else about.get("method", "")
    spans = {
        name: round(sum(getattr(row, f"wall_{name}_s") for row in digest.episodes) / 60.0, 4)
        for name in ("waiting", "reset", "seeing", "deciding", "moving", "other")
    }
    names = ("tmrl_ros", "tmrl_msgs", "rosbags", "git_commit")
    return {
        "task": about.get("task", "unknown"),
        "prompt": about.get("prompt") or about.get("task", "unknown"),
        "method": method,
        "seed": int(seed) if seed.isdigit() else "unknown",
        "operator": about.get("operator", ""),
        "finished": True,
        **episode_figures(records, method),
        "wall_minutes": digest.wall_s / 60.0,
        "wall_minutes_of": spans,
        "idle_share": _idle_share(digest),
        "messages_lost": _lost(digest),
        "stops": [
            {"episode_id": r.episode_id, "code": r.code, "message": r.message, "value": r.value}
            for r in digest.safety
        ],
        "labels": _labels(digest),
        "skipped": [
            {"bag": row.bag, "why": row.why, "left_out": row.left_out} for row in digest.skipped
        ],
        "bags": len(digest.episodes),
        "config_hash": about.get("config_hash"),
        "versions": {name: about[name] for name in names if name in about},
    }


def _for_page(report: Mapping[str, Any], digest: Digest) -> dict[str, Any]:
    """The report with what the page asks for and bags do not tell."""
    unknown: dict[str, Any] = {
        "fallbacks": [],
        "evaluation": {},
        "steering": [],
        "steering_notice": "",
        "peak_memory_mb": None,
        "command": "",
    }
    stops = report["stops"]
    page = {**unknown, **report, "stops": stops[:STOPS_ON_PAGE]}
    page["stops_more"] = max(0, len(stops) - STOPS_ON_PAGE)
    if not report["success_before"]["n"] and not report["success_after"]["n"]:
        phase = shown_phase(digest.records)
        page["rates"] = [(rate_of(digest.records, phase), f"over the {PHASES[phase]}s")]
    return page


def _idle_share(digest: Digest) -> float | None:
    """Share of the control periods between first and last targets in which the arm waited."""
    periods = sum(row.periods for row in digest.episodes)
    idle = sum(row.idle_periods for row in digest.episodes)
    return round(idle / periods, 4) if periods else None


def _lost(digest: Digest) -> dict[str, int]:
    """Messages that are not in the bags although they were sent, by topic."""
    return {row.topic: (row.lost or 0) + (row.dropped or 0) for row in digest.messages}


def _labels(digest: Digest) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for row in digest.labels:
        found.setdefault(row.labelled_by or "nobody", Counter())[row.outcome] += 1
    return {by: dict(counts) for by, counts in sorted(found.items())}


def _tables(digest: Digest) -> dict[str, pa.Table]:
    """Everything that was read, one table per kind of row."""
    return {
        "episodes": table_of(digest.episodes, EpisodeRow),
        "decisions": table_of(digest.decisions, DecisionRow),
        "camera_ages": table_of(digest.camera_ages, CameraAgeRow),
        "labels": table_of(digest.labels, LabelRow),
        "safety": table_of(digest.safety, SafetyRow),
        "messages": table_of(digest.messages, MessageRow),
        "skipped": table_of(digest.skipped, SkippedRow),
    }


def _pictures(
    digest: Digest,
    records: Sequence[EpisodeRecord],
    report: Mapping[str, Any],
    phase: str,
    out: Path,
) -> list[Picture]:
    """Draw everything into `figures/`, each beside the table it was drawn from."""
    folder = out / "figures"
    tables = figure_tables(digest, records, report, phase)
    found = [
        (title, path, TOLD_ABOVE.get(path.stem, ""), "")
        for title, path in draw_plots(records, report, folder, phase=phase).items()
    ]
    with mpl.rc_context(STYLE):
        for chart in charts(digest):
            found.append((chart.title, _draw(chart, folder), chart.text, chart.title))
    if (sheet := draw_sheet(digest, folder / "key_frames.png")) is not None:
        some, all_of_them = len(shown_episodes(digest)), len(digest.episodes)
        text = f"{some} of {all_of_them} episodes: those a person labelled, others evenly spread."
        found.append(("Key frames", sheet, text, "Key frames"))
    pictures = []
    for title, path, text, headline in found:
        csv, parquet = write_table(tables[path.stem], path.with_suffix(""))
        links = tuple(str(file.relative_to(out)) for file in (path, csv, parquet))
        pictures.append(Picture(title, path, text, headline, links))
    return pictures


def _draw(chart: Chart, folder: Path) -> Path:
    figure = Figure(figsize=(WIDTH_IN, chart.height_in), layout="constrained")
    FigureCanvasAgg(figure)
    chart.draw(figure)
    path = folder / f"{chart.name}.png"
    figure.savefig(path, dpi=DPI)
    return path
