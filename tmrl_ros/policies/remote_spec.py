"""A served policy in the terms of a bundle, or why the arm cannot act with it."""

from __future__ import annotations

from pydantic import ValidationError

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import BundleError
from tmrl_ros.core.methods import Capability
from tmrl_ros.core.policy_config import StateKind
from tmrl_ros.policies.bundle import (
    ActionSpec,
    ContextSmoothing,
    NetworkSpec,
    ObservationSpec,
    PolicySpec,
    TrainingRecord,
)
from tmrl_ros.policies.context import STATE_SIZE
from tmrl_ros.serving.protocol import Limits, Offer
from tmrl_ros.vla.interface import VlaSpec

COLUMNS = 4
STATES: dict[int, StateKind] = {4: "tool", 7: "joints", 8: "joints_and_opening"}
SPACES = ("cartesian_relative", "cartesian_delta")


def remote_spec(config: Config, offer: Offer | None, where: str) -> PolicySpec:
    """A served policy in the terms of a bundle, for methods, learner and reports.

    Args:
        config: The resolved configuration.
        offer: What the server says of itself; None for openpi's, which says nothing.
        where: The server, in a sentence.

    Raises:
        BundleError: The arm cannot carry out its actions, or the cell lacks what it looks at.
    """
    if offer is not None and offer.bundle is not None:
        return _of_bundle(offer, where)
    if offer is None:
        return _described(config, _openpi_spec(config), Limits(samples=1))
    spec = offer.spec
    if spec.action_space not in SPACES or spec.action_dim != COLUMNS:
        raise BundleError(
            f"{where}: {spec.name} acts in {spec.action_space!r} with {spec.action_dim} columns; "
            f"the arm takes {' or '.join(SPACES)} of {COLUMNS} (x, y, z, opening): serve a policy "
            "for those."
        )
    if spec.state_dim not in STATES:
        raise BundleError(
            f"{where}: {spec.name} wants a state of {spec.state_dim} values; the arm has "
            + ", ".join(f"{size} ({name})" for size, name in STATES.items())
            + ": serve a policy for one of those."
        )
    known = [camera.name for camera in config.cameras.cameras]
    for theirs, ours in cameras_of(config, offer).items():
        if ours not in known:
            raise BundleError(
                f"{where}: {spec.name} looks through camera {theirs!r}, the cell has {known}: say "
                f"which it is with policy.cameras={{{theirs}: {known[0]}}}."
            )
    return _described(config, spec, offer.limits)


def _of_bundle(offer: Offer, where: str) -> PolicySpec:
    try:
        spec = PolicySpec.model_validate(offer.bundle)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            f"{where}: its bundle cannot be read ({key}: {first['msg']}): use the same release of "
            "tmrl_ros on both sides."
        ) from None
    kept = [name for name in offer.spec.capabilities if name in list(Capability)]
    return spec.model_copy(
        update={
            "format": 2,
            "capabilities": [*kept, Capability.PLANS.value],
            "max_samples": min(spec.max_samples, offer.limits.samples),
        }
    )


def _openpi_spec(config: Config) -> VlaSpec:
    said, robot = config.policy.openpi, config.robot
    return VlaSpec(
        name="openpi",
        action_dim=COLUMNS,
        horizon=said.horizon,
        state_dim=STATE_SIZE,
        cameras=tuple(said.images),
        model_sha256="",
        normalisation_sha256="",
        action_space=said.action_space,
        control_rate_hz=said.control_rate_hz or robot.control_rate_hz,
    )


def _described(config: Config, spec: VlaSpec, limits: Limits) -> PolicySpec:
    """A VLA as a bundle would describe itself; the context is what perception finds."""
    objects = [item.name for item in config.task.objects]
    size = 3 * len(objects) + STATE_SIZE
    rows = [[0.0] * COLUMNS] * spec.horizon
    return PolicySpec(
        kind="served",
        action=ActionSpec(
            frame=config.robot.base_frame,
            rate_hz=spec.control_rate_hz,
            horizon=spec.horizon,
            execute_steps=min(config.policy.execute_steps or spec.horizon, spec.horizon),
            mean=rows,
            std=[[1.0] * COLUMNS] * spec.horizon,
        ),
        observation=ObservationSpec(
            objects=objects, prompt_size=0, mean=[0.0] * size, std=[1.0] * size
        ),
        smoothing=ContextSmoothing(smoothed=[]),
        network=NetworkSpec(),
        training=TrainingRecord(
            command=f"served as {spec.name}",
            task="",
            demonstrations=0,
            samples=0,
            iterations=0,
            seed=0,
            data_sha256=spec.normalisation_sha256,
            prompts=[],
        ),
        capabilities=[
            *(name for name in spec.capabilities if name in list(Capability)),
            Capability.PLANS.value,
        ],
        max_samples=limits.samples if Capability.BATCH in spec.capabilities else 1,
        weights_sha256=spec.model_sha256,
    )


def cameras_of(config: Config, offer: Offer | None) -> dict[str, str]:
    """Camera of the cell by camera of the policy."""
    if offer is None:
        return {name: name for name in config.policy.openpi.images}
    return {name: config.policy.cameras.get(name, name) for name in offer.spec.cameras}
