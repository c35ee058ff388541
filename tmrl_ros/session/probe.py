"""Which probe of the steering range is due, and what probing and warm-up have shown so far.

From the session's log alone; the rule itself is in `data/steering.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tmrl_ros.core.config import Config, MethodConfig
from tmrl_ros.data.steering import (
    FULL,
    T_LEVELS,
    Z_SCALES,
    Evidence,
    Trial,
    count,
    episodes_to_tell,
    probe_name,
    probed_scale,
)
from tmrl_ros.session.records import EpisodeRecord, of_phase

PHASE = "other"


@dataclass(frozen=True)
class Probe:
    """Episodes to be run next: with which `method` of the events, how many, from which index on."""

    method: str
    episodes: int
    start_index: int


def next_probe(most: int, records: Sequence[EpisodeRecord]) -> Probe | None:
    """The probe that is due; None once it is known, or where it cannot be.

    Args:
        most: Most episodes of one size; 0 = never probe.
        records: The session's log.
    """
    if any(record.phase == "train" for record in records):
        return None
    evidence = evidence_of(records, 0)
    needed = episodes_to_tell(evidence.base, most)
    if needed is None:
        return None
    for scale in Z_SCALES:
        done = evidence.z[scale]
        if done[1] < needed:
            indices = [record.index for record in of_phase(records, PHASE)]
            return Probe(probe_name(scale), needed - done[1], max(indices, default=-1) + 1)
        if not Trial("z", scale, *done, evidence.base).destructive:
            return None
    return None


def evidence_of(records: Sequence[EpisodeRecord], warmup_episodes: int) -> Evidence:
    """What the log shows."""
    probes = [(probed_scale(r.method), r.success) for r in of_phase(records, PHASE)]
    training = of_phase(records, "train")
    warmup = [r for r in training if r.index < warmup_episodes and _is_warmup(r)]
    return Evidence(
        count([r.success for r in of_phase(records, "evaluate_before")]),
        {scale: count([ok for s, ok in probes if s == scale]) for scale in Z_SCALES},
        {t: count([r.success for r in warmup if r.t_context[0] == t]) for t in T_LEVELS},
    )


def steering_rows(config: Config, records: Sequence[EpisodeRecord]) -> list[dict[str, Any]]:
    """The table of a report: every size that was tried."""
    return [
        {
            "kind": trial.kind,
            "level": trial.level,
            "successes": trial.successes,
            "n": trial.n,
            "p_value": trial.p_value if trial.base[1] else None,
            "verdict": _verdict(trial),
        }
        for trial in evidence_of(records, config.method.warmup_episodes).trials()
    ]


def steering_notice(config: Config, records: Sequence[EpisodeRecord]) -> str:
    """What of the range is destructive, and what is done about it; "" if nothing is known to be.

    Warm-up is judged as a whole, when it is over.
    """
    evidence = evidence_of(records, config.method.warmup_episodes)
    if len(of_phase(records, "train")) < config.method.warmup_episodes:
        evidence.t = {}
    bad = [trial for trial in evidence.trials() if trial.destructive]
    if not bad:
        return ""
    base = "{} of {}".format(*evidence.base)
    found = "; ".join(
        f"{in_words(trial.kind, trial.level)}: {trial.successes} of {trial.n}" for trial in bad
    )
    text = f"Steering destroys the base policy's success ({base}) with {found}."
    return f"{text} {_remedy(evidence, config.method)}"


def in_words(kind: str, level: float) -> str:
    """A size as a person reads it."""
    if kind == "z":
        return f"noise held over a chunk, from {level:.0%} of its range"
    return f"small noise held over a chunk, context timestep {level:g} all episode long"


def _remedy(evidence: Evidence, method: MethodConfig) -> str:
    if not method.judges_noise:
        return "Critics choose among candidates here, so the range stays; watch the success rate."
    left = evidence.range()
    done = []
    if left.z_scale < FULL.z_scale:
        done.append(f"noise is kept to {left.z_scale:.0%} of its range")
    if method.steers_context and left.t_max < FULL.t_max:
        done.append(f"the context timestep to at most {left.t_max:g}")
    text = f"From now on {' and '.join(done)}." if done else ""
    least = evidence.z.get(Z_SCALES[-1], (0, 0))
    if not done or Trial("z", Z_SCALES[-1], *least, evidence.base).destructive:
        text += " Noise that is held destroys this policy at any size: take another method."
    return text.strip()


def _verdict(trial: Trial) -> str:
    if trial.destructive:
        return "destructive"
    return "no harm shown" if trial.can_tell else "too few to tell"


def _is_warmup(record: EpisodeRecord) -> bool:
    """Whether the episode held one t before anything was learned."""
    steered = record.method != "base" and record.parameters_version == 0
    return steered and bool(record.t_context) and len(set(record.t_context)) == 1
