"""The phases of a session in order, and what is left to do of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tmrl_ros.core.config import Config
from tmrl_ros.core.types import Phase
from tmrl_ros.session import comparison
from tmrl_ros.session.fallback import BASE, Rule, next_block, rule_of
from tmrl_ros.session.probe import next_probe
from tmrl_ros.session.records import EpisodeRecord, of_phase, robot_seconds, still_valid
from tmrl_ros.session.runner import Goal
from tmrl_ros.session.seeds import PHASE_NAMES
from tmrl_ros.session.statistics import success_rate

Kind = Literal["finetune", "deploy", "evaluate", "collect"]


@dataclass(frozen=True)
class PhasePlan:
    """One phase: `episodes` in all, within `max_robot_seconds` (0 = no limit).

    With `fallback` the base policy acts where what was learned is significantly worse. A probe has
    at most `episodes` of every size of noise.
    """

    phase: Phase
    episodes: int
    method: str
    learn: bool
    deterministic: bool
    max_robot_seconds: float = 0.0
    stop_window: int = 0
    stop_success_rate: float = 1.0
    fallback: Rule | None = None
    is_probe: bool = False

    @property
    def name(self) -> str:
        """Name of the phase."""
        return PHASE_NAMES[self.phase]


def plan(config: Config, kind: Kind = "finetune") -> list[PhasePlan]:
    """Phases of a job.

    `finetune` measures, trains and measures again; `deploy` runs the policy; `evaluate` compares
    several; `collect` records episodes from which nothing is learned here.
    """
    session, method = config.session, config.method.name
    if kind == "deploy":
        phases = [PhasePlan(Phase.OTHER, session.evaluation_episodes, method, False, True)]
    elif kind == "evaluate":
        episodes = config.comparison.starts * len(config.comparison.contenders)
        phases = [PhasePlan(comparison.PHASE, episodes, method, False, True)]
    elif kind == "collect":
        acting = "base" if config.method.learns else method
        phases = [PhasePlan(Phase.COLLECT, session.train_episodes, acting, False, False)]
    else:
        count = session.evaluation_episodes
        train = PhasePlan(
            Phase.TRAIN,
            session.train_episodes if config.method.learns else 0,
            method,
            learn=True,
            deterministic=False,
            max_robot_seconds=session.max_robot_minutes * 60.0,
            stop_window=session.stop_window,
            stop_success_rate=session.stop_success_rate,
            fallback=rule_of(config),
        )
        phases = [
            PhasePlan(Phase.EVALUATE_BEFORE, count, "base", False, True),
            _probe(config),
            train,
            PhasePlan(Phase.EVALUATE_AFTER, count, method, False, True),
        ]
    return [phase for phase in phases if phase.episodes > 0]


def _probe(config: Config) -> PhasePlan:
    """The probe of an actor's range of noise, which comes before anything is learned."""
    session, method = config.session, config.method
    trains = method.judges_noise and session.train_episodes > 0 and not session.replay_from
    episodes = session.probe_episodes if trains and session.evaluation_episodes else 0
    return PhasePlan(Phase.OTHER, episodes, method.name, False, False, is_probe=True)


def goal_after(
    config: Config, phases: Sequence[PhasePlan], records: Sequence[EpisodeRecord]
) -> Goal | None:
    """What is to be run next, or None when everything is done."""
    if config.comparison.contenders:
        return comparison.next_goal(config, records)
    return next_goal(phases, records, config.session.seed)


def next_goal(
    phases: Sequence[PhasePlan], records: Sequence[EpisodeRecord], seed: int
) -> Goal | None:
    """What is to be run next, given what has been done, or None when everything is done.

    A goal of training ends where training is compared with the base policy and could be worse.
    """
    after = [phase.method for phase in phases if phase.phase is Phase.EVALUATE_AFTER]
    records = still_valid(records, *after)
    for phase in phases:
        if phase.is_probe:
            if of_phase(records, PHASE_NAMES[Phase.TRAIN]):
                continue  # another method has trained: this one has learned from that already
            if (probe := next_probe(phase.episodes, records)) is None:
                continue
            return Goal(
                phase=phase.phase,
                episodes=probe.episodes,
                start_index=probe.start_index,
                seed=seed,
                method=probe.method,
                learn=False,
                deterministic=False,
            )
        done = of_phase(records, phase.name)
        used_s = robot_seconds(records, phase.name)
        window = phase.stop_window
        if phase.max_robot_seconds and used_s >= phase.max_robot_seconds:
            continue
        if window and len(done) >= window:
            recent = success_rate([record.success for record in done], window)
            if recent.rate is not None and recent.rate >= phase.stop_success_rate - 1e-6:
                continue
        start = _first_missing(done)
        if start >= phase.episodes:
            continue
        by_base, episodes = False, phase.episodes - start
        if phase.fallback is not None:
            block = next_block(phase.fallback, records, episodes)
            by_base, episodes = block.by_base, block.episodes
        return Goal(
            phase=phase.phase,
            episodes=episodes,
            start_index=start,
            seed=seed,
            method=BASE if by_base else phase.method,
            learn=phase.learn,
            deterministic=phase.deterministic,
            max_robot_seconds=max(0.0, phase.max_robot_seconds - used_s),
            stop_window=window,
            stop_success_rate=phase.stop_success_rate,
        )
    return None


def _first_missing(done: Sequence[EpisodeRecord]) -> int:
    indices = {record.index for record in done}
    return next(i for i in range(len(indices) + 1) if i not in indices)
