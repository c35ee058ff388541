"""What the console knows of the graph, and what of it the page is sent.

Written by the thread of the node, read by the thread of the server; every method takes the lock for
as long as it takes to copy a few numbers.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tmrl_ros.console.curve import curves, episode_rows
from tmrl_ros.console.label_target import LabelTarget
from tmrl_ros.console.minutes import WallClock, robot_minutes
from tmrl_ros.core.types import (
    Chunk,
    ChunkSource,
    Episode,
    EpisodeState,
    Outcome,
    Reward,
)
from tmrl_ros.session.records import EpisodeRecord

SAFETY_SILENT_S = 1.0
RUN_FIELDS = (
    *("phase", "episode", "episodes_total", "success_rate", "wall_minutes", "message"),
    *("critic", "fallback", "steering"),
)


@dataclass(frozen=True)
class SafetyReport:
    """The newest state of the software stop, as `SafetyState` has it."""

    state: str
    code: str = ""
    message: str = ""
    value: str = ""
    causes: tuple[str, ...] = ()
    targets_sent: int = 0
    targets_clipped: int = 0
    latches: int = 0


@dataclass
class ConsoleModel:
    """State behind the page.

    Attributes:
        session: Name of the session's folder.
        task: Name of the task.
        prompt: What the policy is told to do.
        cameras: Names of the cameras.
        expected: Nodes that the graph should have.
        prompts: What the policy was trained to be told.
        hold_to_run: The arm moves only while somebody holds a button.
    """

    session: str
    task: str
    prompt: str
    cameras: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    hold_to_run: bool = False
    clock: WallClock = field(default_factory=WallClock)
    _safety: SafetyReport | None = None
    _safety_s: float = 0.0
    _episode: Episode | None = None
    _label: LabelTarget = field(default_factory=LabelTarget)
    _manager: str = ""
    _paused: bool = False
    _timesteps: list[float] = field(default_factory=list)
    _progress: list[float] = field(default_factory=list)
    _success: list[float] = field(default_factory=list)
    _clipped: int = 0
    _sent: int = 0
    _learner: dict[str, Any] = field(default_factory=dict)
    _recorder: dict[str, Any] = field(default_factory=dict)
    _present: tuple[str, ...] = ()
    _run: dict[str, Any] = field(default_factory=dict)
    _records: list[EpisodeRecord] = field(default_factory=list)
    _log_version: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    # what the node hears

    def on_safety(self, report: SafetyReport, now_s: float) -> bool:
        """The supervisor spoke; whether that is another state than before."""
        with self._lock:
            before, self._safety, self._safety_s = self._safety, report, now_s
        return before is None or (before.state, before.code) != (report.state, report.code)

    def on_episode(self, event: Episode) -> None:
        """An episode changed; a late label of another one changes nothing here."""
        with self._lock:
            self._label.on_episode(event)
            before = self._episode
            goes_on = before is not None and before.state is not EpisodeState.ENDED
            other = before is not None and event.episode_id != before.episode_id
            if event.state is EpisodeState.ENDED and goes_on and other:
                return
            if event.state is EpisodeState.RESETTING and (other or not goes_on):
                self._timesteps, self._progress, self._success = [], [], []
                self._sent = self._clipped = 0
            self._episode = event

    def on_chunk(self, chunk: Chunk) -> None:
        """The policy decided."""
        if chunk.source is ChunkSource.RESET or chunk.execute_steps == 0:
            return
        with self._lock:
            self._timesteps.append(round(float(chunk.t_context), 4))

    def on_reward(self, reward: Reward) -> None:
        """The reward judged an observation."""
        if not reward.valid:
            return
        with self._lock:
            self._progress.append(round(reward.progress, 4))
            self._success.append(round(reward.success_probability, 4))

    def on_outcome(self, outcome: Outcome) -> None:
        """The supervisor is done with a chunk."""
        with self._lock:
            self._sent += outcome.steps_sent
            self._clipped += outcome.steps_clipped

    def on_learner(self, figures: Mapping[str, Any]) -> None:
        """The learner says how it is."""
        with self._lock:
            self._learner = dict(figures)

    def on_recorder(self, text: str) -> None:
        """The recorder says how it is, in JSON."""
        try:
            said = json.loads(text)
        except ValueError:
            return
        if isinstance(said, dict):
            with self._lock:
                self._recorder = {k: said.get(k) for k in ("ok", "message", "dropped", "lost")}

    def on_manager(self, sentence: str) -> None:
        """The episode manager says what it waits for."""
        with self._lock:
            self._manager = sentence

    def on_paused(self, paused: bool) -> None:
        """Whether further episodes are held back."""
        with self._lock:
            self._paused = paused

    def on_nodes(self, present: Sequence[str]) -> None:
        """Nodes that are in the graph now."""
        with self._lock:
            self._present = tuple(present)

    def on_status(self, run: Mapping[str, Any]) -> None:
        """What the session node wrote into `status.json`."""
        with self._lock:
            self._run = {key: run.get(key) for key in RUN_FIELDS}

    def on_log(self, records: Sequence[EpisodeRecord]) -> None:
        """The session's log has changed."""
        with self._lock:
            self._records = list(records)
            self._log_version += 1

    def tick(self, now_s: float) -> None:
        """Time goes by: call about once a second."""
        with self._lock:
            state = self._episode.state if self._episode else EpisodeState.IDLE
            self.clock.tick(now_s, state, self._manager)

    # what the page is told

    def snapshot(self, now_s: float) -> dict[str, Any]:
        """Everything that changes quickly, as JSON values."""
        with self._lock:
            return {
                "session": self.session,
                "task": self.task,
                "prompt": self._episode.prompt
                if self._episode and self._episode.prompt
                else self.prompt,
                "prompts": list(self.prompts),
                "cameras": list(self.cameras),
                "hold_to_run": self.hold_to_run,
                "safety": self._safety_view(now_s),
                "episode": _episode_view(self._episode),
                "label_target": self._label.name,
                "manager": self._manager,
                "paused": self._paused,
                "t_context": list(self._timesteps),
                "progress": list(self._progress),
                "success_probability": list(self._success),
                "clipped": {"episode": self._clipped, "of": self._sent, **self._clip_total()},
                "learner": dict(self._learner),
                "recorder": dict(self._recorder),
                "nodes": [{"name": name, "ok": name in self._present} for name in self.expected],
                "run": dict(self._run),
                "robot_minutes": robot_minutes(self._records),
                "wall_minutes": self.clock.minutes(),
                "log_version": self._log_version,
            }

    def log(self) -> dict[str, Any]:
        """Curve and list of episodes."""
        with self._lock:
            records = list(self._records)
        return {"curve": curves(records), "episodes": episode_rows(records)}

    def _safety_view(self, now_s: float) -> dict[str, Any]:
        if self._safety is None or now_s - self._safety_s > SAFETY_SILENT_S:
            return {
                "state": "silent",
                "code": "NO_SUPERVISOR",
                "message": "The safety supervisor says nothing: press the hardware stop button.",
                "value": "",
                "causes": [],
            }
        view = asdict(self._safety)
        view["causes"] = list(self._safety.causes)
        return view

    def _clip_total(self) -> dict[str, int]:
        safety = self._safety
        return {
            "total": safety.targets_clipped if safety else 0,
            "total_of": safety.targets_sent if safety else 0,
        }


def _episode_view(episode: Episode | None) -> dict[str, Any]:
    if episode is None or episode.state is EpisodeState.IDLE:
        return {"id": "", "state": "idle"}
    return {
        "id": episode.episode_id,
        "phase": episode.phase.name.lower(),
        "state": episode.state.name.lower(),
        "outcome": episode.outcome.name.lower(),
        "reason": episode.reason,
        "labelled_by": episode.labelled_by,
        "method": episode.method,
        "max_decisions": episode.max_decisions,
        "decisions": episode.decisions,
    }
