"""`report.html`: one file that can be mailed, with its pictures inside."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from tmrl_ros.core.config import Config

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ r.task }}, {{ r.method }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1e23; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.big { display: flex; flex-wrap: wrap; gap: 2rem; } .big div { min-width: 9rem; }
.big b { display: block; font-size: 1.9rem; line-height: 1.2; }
.big small, .quiet { color: #5c636e; }
table { border-collapse: collapse; } td { padding: .15rem 1.2rem .15rem 0; vertical-align: top; }
td:first-child { color: #5c636e; } img { max-width: 100%; }
.note { border-left: 4px solid #c92a2a; padding: .4rem 1rem; background: #fdf3f2; }
pre { background: #f2f4f7; padding: .8rem; overflow-x: auto; }
</style>
</head>
<body>
<h1>{{ prompt }}</h1>
<p class="quiet">Task {{ r.task }}, method {{ r.method }}, seed {{ r.seed }}.
{%- if not r.finished %} The job has not finished.{% endif %}</p>
<div class="big">
<div><b>{{ percent(r.success_before) }}</b>success before<br>
<small>{{ interval(r.success_before) }}</small></div>
<div><b>{{ percent(r.success_after) }}</b>success after<br>
<small>{{ interval(r.success_after) }}</small></div>
<div><b>{{ "%.1f"|format(r.robot_minutes) }} min</b>of robot time to train<br>
<small>{{ r.episodes }} episodes, resets included</small></div>
<div><b>{{ "%.1f"|format(r.wall_minutes) }} min</b>by the clock<br>
<small>the whole job</small></div>
</div>
<p class="note">The hardware stop button comes first. What this software calls a stop is a
software stop: it latches, holds the arm where it is and waits for a person. It does not replace
the button. Targets slowed down or pulled in: {{ share(r.clip_rate) }}.
Episodes aborted: {{ r.aborted|length }}.</p>
{% for title, image in images.items() %}
<h2>{{ title }}</h2>
<img alt="{{ title }}" src="data:image/png;base64,{{ image }}">
{% endfor %}
<h2>Figures</h2>
<table>
<tr><td>decisions</td><td>{{ r.decisions }}</td></tr>
<tr><td>outcomes</td><td>{% for name, count in r.outcomes.items() %}{{ count }} {{ name }}
{%- if not loop.last %}, {% endif %}{% endfor %}</td></tr>
<tr><td>observation to chunk</td><td>median {{ ms(r.latency_ms.p50) }}, 99 of 100 within
{{ ms(r.latency_ms.p99) }}, longest {{ ms(r.latency_ms.max) }}</td></tr>
<tr><td>robot time in resets</td><td>{{ "%.1f"|format(r.robot_minutes_resets) }} min</td></tr>
<tr><td>robot time in evaluations</td>
<td>{{ "%.1f"|format(r.robot_minutes_evaluation) }} min</td></tr>
<tr><td>most memory in use</td><td>{{ "%.0f MB"|format(r.peak_memory_mb)
  if r.peak_memory_mb is not none else "not measured" }}</td></tr>
<tr><td>messages lost</td><td>{% for name, count in r.messages_lost.items() -%}
{{ name }}: {{ count }}{%- if not loop.last %}, {% endif %}
{% else %}none known{% endfor %}</td></tr>
</table>
{% if r.aborted %}
<h2>Aborted episodes</h2>
<p>They were repeated and nothing was learned from them.</p>
<table>
{% for item in r.aborted %}<tr><td>{{ item.episode_id }}</td><td>{{ item.reason }}</td></tr>
{% endfor %}</table>
{% endif %}
<h2>To repeat this</h2>
<pre>{{ r.command }}</pre>
<table>
<tr><td>configuration</td><td>{{ r.config_hash }} (config.yaml beside this file)</td></tr>
<tr><td>policy bundle</td><td>{{ r.bundle_hash or "unknown" }}</td></tr>
{% for name, value in r.versions.items() %}
<tr><td>{{ name.replace("_", " ") }}</td><td>{{ value or "not known" }}</td></tr>{% endfor %}
</table>
</body>
</html>
"""


def render_page(report: Mapping[str, Any], config: Config, plots: Mapping[str, Path]) -> str:
    """The report as one HTML page.

    Args:
        report: What `report.json` holds.
        config: Configuration of the session.
        plots: PNG files by title; they are put into the page.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    images = {title: base64.b64encode(path.read_bytes()).decode() for title, path in plots.items()}
    return environment.from_string(PAGE).render(
        r=report,
        prompt=config.task.prompt.capitalize(),
        images=images,
        percent=_percent,
        interval=_interval,
        share=_share,
        ms=_ms,
    )


def _percent(rate: Mapping[str, Any]) -> str:
    return "not measured" if rate["rate"] is None else f"{rate['rate']:.0%}"


def _interval(rate: Mapping[str, Any]) -> str:
    if rate["rate"] is None:
        return "no episodes"
    return f"95 % interval {rate['low']:.0%} to {rate['high']:.0%}, {rate['n']} episodes"


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} ms"
