"""Rows for the replay from demonstrations, which nobody recorded features or action noise for.

A demonstrator works in pieces of its own length. What it did is cut anew into chunks of the
policy's horizon, from every control step: each is what the policy would have had to plan there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.types import ChunkSource, EpisodeOutcome
from tmrl_ros.data.assembler import NO_PLAN
from tmrl_ros.data.bag_reader import EpisodeRecord, read_episode
from tmrl_ros.data.dataset import Demonstration, demonstration_from
from tmrl_ros.data.plans import plan_of
from tmrl_ros.data.transitions import Transition
from tmrl_ros.policies.bundle import PolicySpec
from tmrl_ros.policies.context import actor_features
from tmrl_ros.policies.demonstrations import control_steps, training_data


@dataclass(frozen=True)
class Cutter:
    """Cuts demonstrations of a task as a policy would act.

    Attributes:
        spec: The policy: its context, horizon and steps carried out per decision.
        prompt: What success means today; demonstrations of another prompt show something else.
        gripper_max_width_m: Width that counts as opening 1.
    """

    spec: PolicySpec
    prompt: str
    gripper_max_width_m: float

    def recorded(self, record: EpisodeRecord) -> list[Transition]:
        """Rows of a recorded demonstration; none of an episode that is none, or did not succeed.

        Raises:
            OperatorError: It shows another prompt, or lacks an object of the policy.
            BagError: Its bag is damaged.
        """
        if not any(chunk.source is ChunkSource.HUMAN for chunk in record.chunks):
            return []
        if record.ended is None or record.ended.outcome is not EpisodeOutcome.SUCCESS:
            return []
        found = demonstration_from(read_episode(record.path, observations=True, robot=True))
        if found is None:
            return []
        if found.prompt != self.prompt:
            raise OperatorError(
                f"{record.path} demonstrates {found.prompt!r}, task.prompt is {self.prompt!r}: its "
                "success means something else. Leave it out of session.replay_from."
            )
        try:
            return self.rows(replace(found, outcome=record.ended.outcome))
        except ValueError as error:
            raise OperatorError(
                f"{record.path} cannot be learned from ({error}): leave its session out of "
                "session.replay_from."
            ) from None

    def rows(self, demonstration: Demonstration) -> list[Transition]:
        """One row per control step from which a whole chunk follows, or the successful end.

        Rows that are `execute_steps` apart follow each other; those of one decision share its
        number. A success terminates with reward 1. What lies between the last observation and the
        end is left out, for no next features are known there.

        Raises:
            ValueError: An object of the policy is missing in the recording, or targets are.
        """
        action, context = self.spec.action, self.spec.context
        data = training_data([demonstration], context, action.horizon, self.gripper_max_width_m)
        features = [actor_features(item, context) for item in data.context]
        chunks = data.actions.astype(np.float64)
        plans = plan_of(chunks)
        steps = control_steps(demonstration, action.horizon, self.gripper_max_width_m)
        end = steps.length if steps is not None else 0
        success = demonstration.outcome is EpisodeOutcome.SUCCESS
        found = []
        for step in range(len(features)):
            after = step + action.execute_steps
            over = after >= end
            if over and not success or not over and after >= len(features):
                continue
            following = step if over else after
            found.append(
                Transition(
                    episode_id=demonstration.episode_id,
                    decision=step // action.execute_steps,
                    features=features[step],
                    z=NO_PLAN,
                    t_context=0.0,
                    eps_context=NO_PLAN,
                    plan=plans[step],
                    executed=chunks[step, : action.execute_steps],
                    source=ChunkSource.HUMAN,
                    reward=float(over),
                    next_features=features[following],
                    next_plans=plans[following][None],
                    terminated=over,
                    truncated=False,
                    parameters_version=0,
                    success_episode=success,
                )
            )
        return found
