"""The job without ROS, judged by a reward model from the cameras' pictures, beside the truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rig import Actor, Result, Rig, Trial

from tmrl_ros.core.config import Config
from tmrl_ros.core.types import EpisodeOutcome, Phase, Reward, RobotSample
from tmrl_ros.data.decode import RecordedObservation
from tmrl_ros.rewards.debounce import Debounce
from tmrl_ros.rewards.model import CalibratedModel


class JudgedRig(Rig):
    """A rig with pictures in which a model says when an episode has succeeded.

    Args:
        config: As for a session.
        model: Judges; the simulator's truth does if None.
    """

    def __init__(self, config: Config, model: CalibratedModel | None) -> None:
        super().__init__(config, pictures=True)
        self._model = model
        self._truths: list[bool] = []
        self._votes = Debounce(1, 1)
        self.really = False
        """Whether the last episode succeeded by the truth, at any of its observations."""
        self.at_end = False
        """The same at its last two observations."""

    def run(
        self,
        actor: Actor,
        phase: Phase,
        index: int,
        *,
        method: str = "tmrl",
        deterministic: bool = False,
    ) -> Result:
        """One episode of a policy."""
        self._truths = []
        if self._model is not None:
            self._model.begin_episode(self.config.task.prompt)
            rule = self._model.calibration
            self._votes = Debounce(rule.k, rule.n)
        result = super().run(actor, phase, index, method=method, deterministic=deterministic)
        self.really, self.at_end = any(self._truths), any(self._truths[-2:])
        return result

    def _estimate(
        self, name: str, decision: int, sample: RobotSample, seen: RecordedObservation
    ) -> Reward:
        truth = self.arm.ground_truth()
        self._truths.append(bool(truth.success))
        if self._model is None:
            return super()._estimate(name, decision, sample, seen)
        found = self._model.observe([seen.images[camera] for camera in self._model.cameras])
        yes = self._votes.update(found.success_probability >= self._model.calibration.threshold)
        return replace(
            self._judge(name, decision, sample, truth),
            progress=found.progress,
            success_probability=found.success_probability,
            success=yes,
            failure=False,
        )


class JudgedTrial(Trial):
    """A fine-tuning run of which the truth is counted beside what was said."""

    rig: JudgedRig

    def finetune(self, episodes: int, evaluations: int) -> dict[str, Any]:
        """Train, and evaluate afterwards, by the truth."""
        training = _Counts()
        for point in self.train(episodes, 1, 0):
            training.add(self.outcomes[-1], self.rig)
            if point.episodes % 20 == 0:
                minutes = f"{point.robot_minutes:.1f} robot minutes"
                print(f"{point.episodes} episodes, {minutes}: {training.figures(20)}", flush=True)
        self.install()
        after = self.count(Phase.EVALUATE_AFTER, evaluations, self.rig.config.method.name)
        return {
            "robot_minutes": round(self.robot_seconds / 60, 2),
            "training": training.figures(),
            "after": after,
        }

    def count(self, phase: Phase, episodes: int, method: str) -> dict[str, Any]:
        """Evaluate; counts by what was said and by the truth."""
        counts = _Counts()
        for index in range(episodes):
            result = self.rig.run(self.actor, phase, index, method=method, deterministic=True)
            counts.add(result.outcome is EpisodeOutcome.SUCCESS, self.rig)
        return counts.figures()


class _Counts:
    """Episodes: whether success was said, was true at any time, and was true at their end."""

    def __init__(self) -> None:
        self._items: list[tuple[bool, bool, bool]] = []

    def add(self, said: bool, rig: JudgedRig) -> None:
        self._items.append((said, rig.really, rig.at_end))

    def figures(self, last: int | None = None) -> dict[str, Any]:
        """Counts of all episodes, or of the last ones."""
        items = self._items[-last:] if last else self._items
        return {
            "episodes": len(items),
            "said": sum(said for said, _, _ in items),
            "true": sum(true for _, true, _ in items),
            "false_successes": sum(said and not at_end for said, _, at_end in items),
            "missed": sum(true and not said for said, true, _ in items),
        }
