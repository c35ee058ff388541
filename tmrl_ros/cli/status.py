"""What the session node writes into `status.json`, read defensively: it may be old or absent."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BARS = "▁▂▃▄▅▆▇█"
SHOWN_TIMESTEPS = 24


@dataclass(frozen=True)
class Status:
    """One reading of `status.json`; absent values keep their defaults."""

    phase: str = ""
    episode: int = 0
    episodes_total: int = 0
    success: dict[str, float | None] = field(default_factory=dict)
    robot_minutes: float = 0.0
    wall_minutes: float = 0.0
    t_context: tuple[float, ...] = ()
    base: dict[str, float | None] = field(default_factory=dict)
    critic: dict[str, float | None] = field(default_factory=dict)
    clip_rate: float | None = None
    human_episodes: int = 0
    fallback: str = ""
    steering: str = ""
    collected: str = ""
    updates_per_second: float = 0.0
    updates_owed: int = 0
    transitions: int = 0
    safety_state: str = ""
    safety_code: str = ""
    safety_message: str = ""
    messages_lost: int = 0
    aborted: int = 0
    problem_at: str = ""
    problem: str = ""
    message: str = ""

    @property
    def problem_text(self) -> str:
        """The latest stop or aborted episode in words, and how many episodes were aborted."""
        if not self.problem:
            return ""
        count = f" ({self.aborted} aborted so far)" if self.aborted else ""
        return f"{self.problem_at} {self.problem.rstrip('.')}.{count}".lstrip()

    @property
    def success_text(self) -> str:
        """Success rate of the last episodes and the base policy's, with their 95 % intervals."""
        base = _rate(self.base) if self.phase != "evaluate_before" else ""
        now = _rate(self.success) or "no episodes yet"
        return f"{now}; base policy {base}" if base else now

    @property
    def notices(self) -> dict[str, str]:
        """What a person has to know, by name; "" where there is nothing."""
        return {"fall-back": self.fallback, "steering": self.steering}

    @property
    def critic_text(self) -> str:
        """Whether the critics' values come true, and how much the critics differ."""
        expected, seen = self.critic.get("expected"), self.critic.get("seen")
        spread = self.critic.get("disagreement")
        if expected is None or seen is None:
            return ""
        differ = f", differ by {spread:.2f}" if spread is not None else ""
        return f"expect {expected:.2f}, came {seen:.2f}{differ}"

    @property
    def clip_text(self) -> str:
        """Share of the latest targets that the supervisor changed."""
        return "" if self.clip_rate is None else f"{self.clip_rate:.1%} of targets"

    @property
    def t_context_text(self) -> str:
        """The latest context timesteps as a row of bars from 0 (precise) to 1 (broad)."""
        shown = self.t_context[-SHOWN_TIMESTEPS:]
        bars = "".join(BARS[min(int(max(t, 0.0) * len(BARS)), len(BARS) - 1)] for t in shown)
        return f"{bars} {sum(shown) / len(shown):.2f} on average" if shown else "-"

    @property
    def safety_text(self) -> str:
        """State of the software stop with its cause."""
        parts = [self.safety_state or "unknown", self.safety_code]
        text = " ".join(part for part in parts if part)
        return f"{text}: {self.safety_message}" if self.safety_message else text

    @property
    def _learner_text(self) -> str:
        rate = f"{self.updates_per_second:.0f} updates/s"
        return f"{self.transitions} transitions, {rate}, {self.updates_owed} owed"

    def line(self) -> str:
        """Everything that changes, on one line."""
        total = f"/{self.episodes_total}" if self.episodes_total else ""
        return (
            f"{self.phase or 'starting'} {self.episode}{total} | success {self.success_text} | "
            f"robot {self.robot_minutes:.1f} min, wall {self.wall_minutes:.1f} min | "
            + (self.collected or self._learner_text)
            + f" | safety {self.safety_text}"
            + (f" | critics {self.critic_text}" if self.critic_text else "")
            + (f" | clipped {self.clip_text}" if self.clip_text else "")
            + (f" | a person helped in {self.human_episodes}" if self.human_episodes else "")
            + (f" | {self.messages_lost} messages lost" if self.messages_lost else "")
            + (f" | {self.message}" if self.message else "")
        )


def read_status(path: Path) -> Status | None:
    """Read `status.json`, or None while it is absent or not readable."""
    try:
        raw = json.loads(path.read_text())
        return _parse(raw)
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _rate(rate: dict[str, float | None]) -> str:
    value, n = rate.get("rate"), int(rate.get("n") or 0)
    if value is None or not n:
        return ""
    low, high = rate.get("low") or 0.0, rate.get("high") or 0.0
    return f"{value:.0%} [{low:.0%}, {high:.0%}] of {n}"


def _parse(raw: dict[str, Any]) -> Status:
    safety = raw.get("safety") or {}
    problem = raw.get("problem") or {}
    timesteps = raw.get("t_context") or []
    return Status(
        phase=str(raw.get("phase") or ""),
        episode=int(raw.get("episode") or 0),
        episodes_total=int(raw.get("episodes_total") or 0),
        success=dict(raw.get("success_rate") or {}),
        robot_minutes=float(raw.get("robot_minutes") or 0.0),
        wall_minutes=float(raw.get("wall_minutes") or 0.0),
        t_context=tuple(float(t) for t in timesteps),
        base=dict(raw.get("base") or {}),
        critic=dict(raw.get("critic") or {}),
        clip_rate=None if raw.get("clip_rate") is None else float(raw["clip_rate"]),
        human_episodes=int(raw.get("human_episodes") or 0),
        fallback=str(raw.get("fallback") or ""),
        steering=str(raw.get("steering") or ""),
        collected=str(raw.get("collected") or ""),
        updates_per_second=float(raw.get("updates_per_second") or 0.0),
        updates_owed=int(raw.get("updates_owed") or 0),
        transitions=int(raw.get("transitions") or 0),
        safety_state=str(safety.get("state") or ""),
        safety_code=str(safety.get("code") or ""),
        safety_message=str(safety.get("message") or ""),
        messages_lost=sum(int(n) for n in (raw.get("messages_lost") or {}).values()),
        aborted=int(raw.get("aborted") or 0),
        problem_at=str(problem.get("at") or ""),
        problem=str(problem.get("text") or ""),
        message=str(raw.get("message") or ""),
    )
