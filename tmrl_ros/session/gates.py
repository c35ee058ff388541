"""What must be right before an episode may start, and for how long the manager waits for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from tmrl_ros.core.types import Phase
from tmrl_ros.session.seeds import PHASE_NAMES, split_episode_id

START_CODE, OPERATOR_CODE = "START", "OPERATOR_STOP"


@dataclass
class SafetyView:
    """The newest `SafetyState`; `causes` would refuse a reset."""

    latched: bool
    code: str = ""
    message: str = ""
    causes: tuple[str, ...] = ()


@dataclass
class World:
    """What the manager knows of the others; the node keeps it up to date.

    Attributes:
        missing: Names of nodes that are not there yet.
        stamp_ns: Newest robot stamp, None before the first robot state.
        safety: None before the first safety state.
        recorder_fault: Why the recorder cannot record, "" when it can.
        learner_ready: The learner may be trained on, and its weights are published.
        updates_owed: Gradient steps that it has to do yet, as far as it has said.
        learns: The session's method has a learner.
        trained_through: Last episode the learner has learned from.
        paused: A person holds back further episodes.
        prompt: What a person wants done from the next episode on; "" is the task's own.
    """

    missing: tuple[str, ...] = ("everything",)
    stamp_ns: int | None = None
    safety: SafetyView | None = None
    recorder_fault: str = ""
    learner_ready: bool = False
    updates_owed: int = 0
    learns: bool = False
    trained_through: str = ""
    paused: bool = False
    prompt: str = ""


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """Bounds of the waits, wall time in seconds; and how the operator and the clock are.

    `settle_s` passes after the last node was found, because two others may find each other later
    than we find both: DDS repeats a lost announcement after three seconds.
    """

    simulated_operator: bool
    lockstep: bool
    learner_lag: int
    graph_s: float = 120.0
    settle_s: float = 3.5
    recorder_s: float = 30.0
    causes_s: float = 60.0
    learner_ready_s: float = 900.0
    learner_s: float = 120.0
    reset_every_s: float = 1.0
    max_resets: int = 300


class Verdict(Enum):
    """What a gate says."""

    OPEN = auto()
    WAIT = auto()
    RESET_STOP = auto()
    GIVE_UP = auto()
    GO_ON = auto()  # open, but with a warning


@dataclass
class Gates:
    """Asked again and again before an episode, until they open or the job cannot go on.

    One object lives as long as the manager, because resets are counted and learned episodes
    remembered over all goals.
    """

    settings: GateSettings
    resets: int = 0
    trained: list[str] = field(default_factory=list)
    _complete_s: float | None = None
    _waiting_for: str = ""
    _since_s: float = 0.0
    _last_reset_s: float = float("-inf")

    def ask(self, world: World, phase: Phase, learn: bool, now_s: float) -> tuple[Verdict, str]:
        """Whether an episode may start, and a sentence when it may not or not quite."""
        settings = self.settings
        if world.paused:
            return self._wait("person", now_s, None, "Paused: press START to go on.")
        if world.missing:
            self._complete_s = None
            names = ", ".join(world.missing)
            return self._wait(
                "graph", now_s, settings.graph_s, f"Waiting for {names}: is everything started?"
            )
        if self._complete_s is None:
            self._complete_s = now_s
        if now_s - self._complete_s < settings.settle_s:
            return Verdict.WAIT, "Everybody is there."
        if world.stamp_ns is None or world.safety is None:
            what = "robot/state" if world.stamp_ns is None else "safety/state"
            return self._wait(what, now_s, settings.graph_s, f"Waiting for the first {what}.")
        if world.recorder_fault:
            text = f"No episode starts while the recorder cannot record: {world.recorder_fault}."
            return self._wait("recorder", now_s, settings.recorder_s, text)
        if world.safety.latched:
            return self._ask_latched(world.safety, now_s)
        acts_as_learned = world.learns and phase in (Phase.EVALUATE_AFTER, Phase.OTHER)
        if (learn or acts_as_learned) and not world.learner_ready:
            return self._await_learner(world.updates_owed, now_s)
        return self._ask_learner(world, phase, learn, now_s)

    def _await_learner(self, owed: int, now_s: float) -> tuple[Verdict, str]:
        """Wait for a learner that reads bags, or learns from them first: as long as it gets on."""
        text = "Waiting for the learner to be ready (it may be reading bags)."
        if owed:
            text = "Waiting for the learner, which learns from what was recorded before it begins."
        return self._wait(f"ready, {owed}", now_s, self.settings.learner_ready_s, text)

    def episode_learned(self, episode_id: str) -> None:
        """Remember an episode from which the learner will learn."""
        self.trained.append(episode_id)

    def _ask_latched(self, safety: SafetyView, now_s: float) -> tuple[Verdict, str]:
        settings = self.settings
        what = safety.code or "unknown cause"
        if not settings.simulated_operator or safety.code == OPERATOR_CODE:
            text = (
                f"The software stop has latched ({what}). {safety.message} Clear the cause, then "
            )
            return self._wait("person", now_s, None, text + "reset it: the job waits for you.")
        if safety.causes:
            text = (
                f"The software stop stays latched ({what}): {', '.join(safety.causes)} is present."
            )
            return self._wait("causes", now_s, settings.causes_s, text)
        if now_s - self._last_reset_s < settings.reset_every_s:
            return Verdict.WAIT, f"The simulated operator resets the software stop ({what})."
        if safety.code != START_CODE:
            if self.resets >= settings.max_resets:
                return Verdict.GIVE_UP, (
                    f"The software stop latched again ({what}) after {self.resets} resets in this "
                    "session: find out why before going on."
                )
            self.resets += 1
        self._last_reset_s = now_s
        return Verdict.RESET_STOP, f"The simulated operator resets the software stop ({what})."

    def _ask_learner(
        self, world: World, phase: Phase, learn: bool, now_s: float
    ) -> tuple[Verdict, str]:
        training = phase == Phase.TRAIN and learn
        lag = self.settings.learner_lag if training else 0
        paced = training or phase == Phase.EVALUATE_AFTER
        if not (self.settings.lockstep and paced and len(self.trained) > lag):
            return self._open()
        needed = self.trained[-1 - lag]
        if _index(world.trained_through) >= _index(needed):
            return self._open()
        text = f"Waiting for the learner to finish {needed}"
        if world.trained_through:
            text += f" (it has finished {world.trained_through})"
        verdict, text = self._wait("learner", now_s, self.settings.learner_s, text + ".")
        if verdict == Verdict.GIVE_UP:
            self._waiting_for = ""
            return (
                Verdict.GO_ON,
                f"The learner did not finish {needed} in time; going on without it.",
            )
        return verdict, text

    def _open(self) -> tuple[Verdict, str]:
        self._waiting_for = ""
        return Verdict.OPEN, ""

    def _wait(
        self, what: str, now_s: float, bound_s: float | None, text: str
    ) -> tuple[Verdict, str]:
        if what != self._waiting_for:
            self._waiting_for, self._since_s = what, now_s
        if bound_s is not None and now_s - self._since_s >= bound_s:
            self._waiting_for = ""
            return Verdict.GIVE_UP, f"{text} Gave up after {bound_s:g} s."
        return Verdict.WAIT, text


def _index(episode: str) -> int:
    """Index of a training episode, -1 for anything else."""
    parts = split_episode_id(episode)
    return parts[1] if parts and parts[0] == PHASE_NAMES[Phase.TRAIN] else -1
