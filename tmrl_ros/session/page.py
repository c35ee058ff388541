"""`report.html`: one file that can be mailed, with its pictures inside."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from tmrl_ros.session.probe import in_words as size_in_words
from tmrl_ros.session.problem import in_words

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ r.task }}, {{ r.method }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1e23; max-width: 50rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .3rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.verdict { font-size: 1.1rem; }
.big { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
  gap: 1.2rem 1.5rem; margin: 1.5rem 0; }
.big b { display: block; font-size: 1.9rem; line-height: 1.2; }
.big b.none { font-size: 1.2rem; line-height: 1.9; color: #5c636e; }
small, .quiet { color: #5c636e; } small { display: block; line-height: 1.35; }
table { border-collapse: collapse; }
td { padding: .15rem 1.2rem .15rem 0; vertical-align: top; }
td:first-child { color: #5c636e; } td:last-child { overflow-wrap: anywhere; }
img { display: block; width: 100%; height: auto; margin: 1.6rem 0; }
figure { margin: 1.6rem 0; } figure img { margin: .3rem 0; } figcaption { margin-top: 2rem; }
figcaption b { display: block; }
.note { border-left: 4px solid #c92a2a; padding: .4rem 1rem; background: #fdf3f2; }
pre { background: #f2f4f7; padding: .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
@media print { img, tr { break-inside: avoid; } }
</style>
</head>
<body>
<h1>{{ prompt }}</h1>
<p class="quiet">Task {{ r.task }}, method {{ r.method }}, seed {{ r.seed }}.
{%- if not r.finished %} The job has not finished.{% endif %}</p>
<p class="verdict">{{ verdict }}</p>
{% if r.methods|length > 1 %}
<p>The method changed while training: {% for part in r.methods %}{{ part.method }} in episodes
{{ part.first + 1 }} to {{ part.last + 1 }}{% if not loop.last %}, then {% endif %}{% endfor %}.
Each learned from everything that was recorded before it.</p>
{% endif %}
<div class="big">
{% for rate, when in rates %}
<div>{% if rate.n %}<b>{{ percent(rate) }}</b>{% else %}<b class="none">not measured</b>
{%- endif %}success {{ when }}<small>{{ interval(rate) }}</small></div>
{% endfor %}
<div><b>{{ "%.1f"|format(r.robot_minutes) }} min</b>of robot time to train
<small>{{ r.episodes }} episodes, resets included</small></div>
<div><b>{{ "%.1f"|format(r.wall_minutes) }} min</b>by the clock
<small>the whole job</small></div>
</div>
<p class="note">The hardware stop button comes first. What this software calls a stop is a
software stop: it latches, holds the arm where it is and waits for a person. It does not replace
the button.</p>
{% if r.relabelled %}
<p class="note">Outcomes are those of the reward model {{ r.relabelled.model or "" }}
({{ r.relabelled.model_hash }}), with which this session was judged again. It changed
{{ r.relabelled.changed|length }} of them{% if r.relabelled.changed %}:
{{ r.relabelled.changed[:20]|join(", ") }}{% if r.relabelled.changed|length > 20 %} ...{% endif %}
{% endif %}. <code>tmrl reward relabel --undo</code> brings back those of the day.</p>
{% endif %}
{% for item in r.fallbacks %}
<p class="note">From training episode {{ item.from_episode }} on the base policy acted for
{{ item.episodes }} episodes: {{ item.successes }} of the last {{ item.n }} had succeeded, of the
base policy's {{ item.base_successes }} of {{ item.base_n }}
{%- if item.p_value is not none %} (one-sided Fisher test, p =
{{ "%.2g"|format(item.p_value) }}){% endif %}.</p>
{% endfor %}
{% if r.evaluation.get("said_by") %}
<p class="quiet">Success before and after is the simulator's truth, of which nothing in the job
knew.
Of {{ r.evaluation.checked }} episodes the reward ({{ r.evaluation.said_by }}) called
{{ r.evaluation.false_successes }} a success that were none, and missed
{{ r.evaluation.missed_successes }}.</p>
{% endif %}
{% if r.skipped %}
<h2>Bags that are damaged</h2>
<table>
{% for item in r.skipped %}<tr><td>{{ item.bag }}</td>
<td>{{ item.why }}{% if item.left_out %}: left out{% endif %}</td></tr>
{% endfor %}</table>
{% endif %}
{% for item in pictures %}
{% if item.text or item.data %}
<figure><figcaption>{% if item.headline %}<b>{{ item.headline }}</b>{% endif %}{{ item.text }}
{% for file in item.data %}<a href="{{ file }}">{{ file.split(".")[-1] }}</a>
{% endfor %}</figcaption>
<img alt="{{ item.title }}" src="data:image/png;base64,{{ item.image }}"></figure>
{% else %}
<img alt="{{ item.title }}" src="data:image/png;base64,{{ item.image }}">
{% endif %}
{% endfor %}
{% if r.stops %}
<h2>Software stops</h2>
<table>
{% for item in r.stops %}<tr><td>{{ item.episode_id }}</td>
<td>{{ item.code }}{% if item.message %}: {{ item.message }}{% endif %}
{%- if item.value %} ({{ item.value }}){% endif %}</td></tr>
{% endfor %}</table>
{% if r.stops_more %}<p class="quiet">{{ r.stops_more }} more are in its files.</p>{% endif %}
{% endif %}
{% if r.labels %}
<h2>Who said how episodes ended</h2>
<table>
{% for by, outcomes in r.labels.items() %}<tr><td>{{ by }}</td>
<td>{% for name, count in outcomes.items() %}{{ count }} {{ name }}
{%- if not loop.last %}, {% endif %}{% endfor %}</td></tr>
{% endfor %}</table>
{% endif %}
<h2>Figures</h2>
<table>
<tr><td>targets slowed down or pulled in</td><td>{{ share(r.clip_rate) }}</td></tr>
{% if r.critic.expected is not none and r.critic.seen is not none %}
<tr><td>critics at the end</td><td>expect {{ "%.2f"|format(r.critic.expected) }} of a decision;
{{ "%.2f"|format(r.critic.seen) }} came of it (last 20 episodes)
{%- if r.critic.disagreement is not none %}; they differ by
{{ "%.2f"|format(r.critic.disagreement) }}{% endif %}</td></tr>
{% endif %}
<tr><td>decisions</td><td>{{ r.decisions }}</td></tr>
{% if r.human_steps %}
<tr><td>a person moved the arm</td><td>{{ r.human_steps }} steps
{%- for phase, count in r.human_episodes.items() %}, {{ count }} episodes of {{ phase }}
{%- endfor %}</td></tr>
{% endif %}
<tr><td>outcomes</td><td>{% for name, count in r.outcomes.items() %}{{ count }} {{ name }}
{%- if not loop.last %}, {% endif %}{% endfor %}</td></tr>
<tr><td>observation to chunk</td><td>median {{ ms(r.latency_ms.p50) }}, 99 of 100 within
{{ ms(r.latency_ms.p99) }}, longest {{ ms(r.latency_ms.max) }}</td></tr>
<tr><td>robot time in resets</td><td>{{ "%.1f"|format(r.robot_minutes_resets) }} min</td></tr>
<tr><td>robot time in evaluations</td>
<td>{{ "%.1f"|format(r.robot_minutes_evaluation) }} min</td></tr>
<tr><td>most memory in use</td><td>{{ "%.0f MB"|format(r.peak_memory_mb)
  if r.peak_memory_mb is not none else "not measured" }}</td></tr>
<tr><td>messages lost</td><td>{{ lost(r.messages_lost) }}</td></tr>
</table>
{% if r.steering %}
<h2>How far the policy may be steered</h2>
<p>Success before anything was learned, under noise and context timesteps that were held. Against
{{ interval(r.success_before) }} with the base policy. {{ r.steering_notice }}</p>
<table>
{% for item in r.steering %}<tr><td>{{ size_in_words(item.kind, item.level) }}</td>
<td>{{ item.successes }} of {{ item.n }}: {{ item.verdict }}</td></tr>
{% endfor %}</table>
{% endif %}
{% if r.trimmed %}
<h2>Episodes that were cut</h2>
<p>Learned from up to there alone (trims.jsonl); their bags are whole.</p>
<table>
{% for item in r.trimmed %}<tr><td>{{ item.episode_id }}</td>
<td>{{ item.kept }} of {{ item.decisions }} decisions, {{ item.outcome }}</td></tr>
{% endfor %}</table>
{% endif %}
{% if r.aborted %}
<h2>Aborted episodes</h2>
<p>Nothing was learned from them, and each is run again until it ends in another way.</p>
<table>
{% for item in r.aborted %}<tr><td>{{ item.episode_id }}</td>
<td>{{ in_words(item.reason, item.labelled_by) }}</td></tr>
{% endfor %}</table>
{% endif %}
{% if r.command %}
<h2>To repeat this</h2>
<pre>{{ r.command }}</pre>
{% else %}
<h2>Where this comes from</h2>
{% endif %}
<table>
<tr><td>configuration</td><td>{{ r.config_hash or "unknown" }}
{%- if r.command %} (config.yaml beside this file){% endif %}</td></tr>
{% if r.operator %}<tr><td>operator</td><td>{{ r.operator }}</td></tr>{% endif %}
<tr><td>policy bundle</td><td>{{ r.bundle_hash or "unknown" }}</td></tr>
{% for name, value in r.versions.items() %}
<tr><td>{{ name.replace("_", " ") }}</td><td>{{ value or "not known" }}</td></tr>{% endfor %}
</table>
</body>
</html>
"""


@dataclass(frozen=True)
class Picture:
    """A plot on the page: its PNG file, what it shows, and links to what it was drawn from.

    `headline` stands above it, where the plot has no title of its own.
    """

    title: str
    path: Path
    text: str = ""
    headline: str = ""
    data: tuple[str, ...] = ()

    @property
    def image(self) -> str:
        """The file in base64."""
        return base64.b64encode(self.path.read_bytes()).decode()


def render_page(report: Mapping[str, Any], prompt: str, pictures: Sequence[Picture]) -> str:
    """A report as one HTML page.

    Args:
        report: What `report.json` holds.
        prompt: What the policy was told to do.
        pictures: Plots; they are put into the page.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    usual = [(report["success_before"], "before"), (report["success_after"], "after")]
    nothing = {"skipped": [], "stops": [], "stops_more": 0, "labels": {}, "operator": ""}
    return environment.from_string(PAGE).render(
        r={**nothing, **report},
        rates=report.get("rates", usual),
        prompt=prompt.capitalize(),
        pictures=pictures,
        verdict=_verdict(report["success_before"], report["success_after"]),
        percent=_percent,
        interval=_interval,
        share=_share,
        lost=_lost,
        ms=_ms,
        in_words=in_words,
        size_in_words=size_in_words,
    )


def _verdict(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Whether training helped, as far as the two intervals tell."""
    if not before["n"] or not after["n"]:
        return "Success was not measured both before and after training, so they are not compared."
    change = f"from {_percent(before)} to {_percent(after)}"
    if after["low"] > before["high"]:
        return f"Success rose {change}; the intervals do not overlap."
    if after["high"] < before["low"]:
        return f"Success fell {change}; the intervals do not overlap."
    return (
        f"Success went {change}, but the intervals overlap: so few evaluation episodes cannot tell "
        "whether the policy got better (session.evaluation_episodes)."
    )


def _percent(rate: Mapping[str, Any]) -> str:
    return f"{100 * rate['rate']:.0f} %"


def _interval(rate: Mapping[str, Any]) -> str:
    if rate["rate"] is None:
        return "no episodes"
    low, high = 100 * rate["low"], 100 * rate["high"]
    return f"95 % interval {low:.0f} to {high:.0f} %, {rate['n']} episodes"


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.1f} %"


def _lost(counts: Mapping[str, int]) -> str:
    if not counts:
        return "not known"
    return ", ".join(f"{count} ({name})" for name, count in counts.items() if count) or "none"


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} ms"
