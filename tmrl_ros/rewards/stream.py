"""A reward model in this process, which sees every frame in its order."""

from __future__ import annotations

from tmrl_ros.rewards.attempt import Attempt, Case
from tmrl_ros.rewards.model import Judgement, RewardModel


class StreamJudge:
    """Hands the frames of one attempt after the other to a `RewardModel`."""

    in_order = True
    trouble = ""

    def __init__(self, model: RewardModel) -> None:
        self._model = model
        self._attempt: Attempt | None = None

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.name

    @property
    def hash(self) -> str:
        """Hash of the model's weights."""
        return self._model.hash

    def prepare(self) -> None:
        """Nothing: the model was loaded when the node started."""

    def judge(self, case: Case) -> Judgement:
        """Judge the newest frame."""
        if case.attempt is not self._attempt:
            self._attempt = case.attempt
            self._model.begin_episode(case.attempt.prompt)
        return self._model.observe(case.frames[-1])

    def close(self) -> None:
        """Nothing: a judgement takes milliseconds."""
