"""Report of a comparison: one page with rates, pairs, and every start."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, StrictUndefined
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tmrl_ros.core.config import Config
from tmrl_ros.data.episodes_log import write_bytes_atomic, write_json_atomic
from tmrl_ros.session.comparison import GRID, Standing, posterior, standing, turned
from tmrl_ros.session.plots import DPI, STYLE, WIDTH_IN
from tmrl_ros.session.records import EpisodeRecord

PLOT_FILE = "plots/comparison.png"
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ r.prompt }}: comparison</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1e23; max-width: 50rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .3rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.quiet { color: #5c636e; } .verdict { font-size: 1.1rem; }
table { border-collapse: collapse; } td, th { padding: .2rem 1rem .2rem 0; text-align: left; }
img { display: block; width: 100%; height: auto; margin: 1.6rem 0; }
.starts { font-family: monospace; overflow-wrap: anywhere; }
.good { color: #2b8a3e; } .bad { color: #c92a2a; }
</style>
</head>
<body>
<h1>{{ r.prompt }}</h1>
<p class="quiet">Task {{ r.task }}, seed {{ r.seed }}; {{ r.starts }} start states met, of at most
{{ r.starts_planned }}; judged by {{ r.reward }}. Policies acted in turns, in an order drawn anew at
every start, under letters.</p>
<p class="verdict">{{ r.verdict }}</p>
<table>
<tr><th>policy</th><th>letter</th><th>success</th><th>95 % interval</th><th>of</th>
<th>bundle</th></tr>
{% for c in r.contenders -%}
<tr><td>{{ c.name }}</td><td>{{ c.letter }}</td><td>{{ percent(c.rate.rate) }}</td>
<td>{{ percent(c.rate.low) }} to {{ percent(c.rate.high) }}</td><td>{{ c.rate.n }}</td>
<td class="quiet">{{ c.bundle }}{% if c.method != "base" %}, {{ c.method }}{% endif %}</td></tr>
{% endfor -%}
</table>
<img src="{{ picture }}" alt="how likely every success rate is">
<h2>Pairs</h2>
<table>
<tr><th></th><th>better at</th><th>worse at</th><th>evidence</th><th>probably better</th>
<th></th></tr>
{% for p in r.pairs -%}
<tr><td>{{ p.first }} against {{ p.second }}</td><td>{{ p.wins }} starts</td>
<td>{{ p.losses }} starts</td>
<td>{{ "%.3g"|format(p.evidence) }} (needs {{ "%.3g"|format(r.limit) }})</td>
<td>{{ percent(p.chance_better) }}</td>
<td>{% if p.decided %}<b>decided</b>{% else %}open{% endif %}</td></tr>
{% endfor -%}
</table>
<p class="quiet">Starts at which both succeed or both fail say nothing about which is better. If two
policies are equally good, the evidence reaches {{ "%.3g"|format(r.limit) }} in at most
{{ percent(r.alpha) }} of comparisons (over all pairs), however often one looks.
"Probably better" is a Bayesian figure from both rates (uniform priors).</p>
<h2>Every start</h2>
{% for c in r.contenders -%}
<p class="starts">{{ c.name }}<br>{% for good in c.outcomes %}
{%- if good %}<span class="good">o</span>{% elif good is none %}&middot;
{%- else %}<span class="bad">x</span>
{%- endif %}{% endfor %}</p>
{% endfor -%}
<p class="quiet">o success, x failure, &middot; not met; the same start state in every column.</p>
</body>
</html>
"""


def build_comparison(
    session_dir: Path, config: Config, records: Sequence[EpisodeRecord]
) -> dict[str, Any]:
    """Write `report.json`, `report.html` and the plot of a comparison; returns the figures."""
    found = standing(config, records)
    report = figures(config, found)
    write_json_atomic(session_dir / "report.json", report)
    plot = session_dir / PLOT_FILE
    _draw(report, plot)
    picture = base64.b64encode(plot.read_bytes()).decode()
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(PAGE)
    page = template.render(r=report, picture=f"data:image/png;base64,{picture}", percent=_percent)
    write_bytes_atomic(session_dir / "report.html", page.encode())
    return report


def figures(config: Config, found: Standing) -> dict[str, Any]:
    """What `report.json` holds; letters are names here."""
    comparison, seed = config.comparison, config.session.seed
    coded = comparison.coded(seed)
    names = {letter: contender.name for letter, contender in coded.items()}
    met = max((start + 1 for starts in found.outcomes.values() for start in starts), default=0)
    contenders: list[dict[str, Any]] = [
        {
            "name": contender.name,
            "letter": letter,
            "rate": found.rates[letter].as_dict(),
            "bundle": contender.bundle.name,
            "method": contender.method.name,
            "outcomes": [found.outcomes[letter].get(start) for start in range(met)],
        }
        for letter, contender in coded.items()
    ]
    contenders.sort(key=lambda item: -(item["rate"]["rate"] or 0.0))
    pairs = []
    for pair in found.pairs:
        better = pair if pair.wins >= pair.losses else turned(pair)
        pairs.append(
            {**asdict(better), "first": names[better.first], "second": names[better.second]}
        )
    return {
        "task": config.task.name,
        "prompt": config.task.prompt,
        "seed": seed,
        "reward": config.reward.backend,
        "starts": met,
        "starts_planned": comparison.starts,
        "alpha": comparison.alpha,
        "limit": len(pairs) / comparison.alpha,
        "contenders": contenders,
        "pairs": pairs,
        "decided": found.decided,
        "verdict": verdict(pairs),
    }


def verdict(pairs: Sequence[dict[str, Any]]) -> str:
    """The result in a sentence or two."""
    decided = [pair for pair in pairs if pair["decided"]]
    said = [f"{pair['first']} is better than {pair['second']}." for pair in decided]
    if not decided:
        said.append("No difference is shown. That is not to say that there is none.")
    elif len(decided) < len(pairs):
        said.append("No difference is shown between the others.")
    return " ".join(said)


def _draw(report: dict[str, Any], path: Path) -> None:
    """How likely every success rate is, after what was seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, 3.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for contender in report["contenders"]:
            outcomes = [good for good in contender["outcomes"] if good is not None]
            density = posterior(sum(outcomes), len(outcomes)) / (GRID[1] - GRID[0])
            (line,) = axes.plot(100 * GRID, density / 100, label=contender["name"], linewidth=2)
            axes.fill_between(100 * GRID, density / 100, alpha=0.15, color=line.get_color())
        axes.set(xlabel="success rate (%)", ylabel="how likely", xlim=(0, 100))
        axes.set_yticks([])
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        figure.savefig(path, dpi=DPI)


def _percent(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 0.1 %" if 0 < value < 0.001 else f"{100 * value:.3g} %"
