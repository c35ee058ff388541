"""Policy bundles: a folder with `policy.json` (what it is) and `model.safetensors` (weights)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import BundleError
from tmrl_ros.core.methods import Capability
from tmrl_ros.data.bundle_folder import BundleFolder, BundleSpec, Strict
from tmrl_ros.policies.capabilities import check_capabilities, check_overlap
from tmrl_ros.policies.context import ContextSpec
from tmrl_ros.policies.encoders import EncoderSpec, build
from tmrl_ros.policies.flow import FlowPolicy, FlowSize

SPEC_FILE = "policy.json"
Floats = Annotated[list[float], Field(min_length=1)]


def _is_objects(kind: str) -> bool:
    """Bundles of named objects are written, and hashed, as before there were other kinds."""
    return kind == "objects"


def _is_none(value: object) -> bool:
    return value is None


class ActionSpec(Strict):
    """What the rows of a chunk mean."""

    space: Literal["cartesian_relative"] = "cartesian_relative"
    frame: str = Field(description="base frame the rows are expressed in")
    rate_hz: float = Field(gt=0)
    horizon: int = Field(ge=1)
    execute_steps: int = Field(ge=1)
    units: list[str] = ["m", "m", "m", "opening 0..1"]
    encoding: Literal["steps"] = Field(
        "steps", description="the network predicts moves from row to row, not positions"
    )
    mean: list[Floats] = Field(description="horizon x 4, of the encoded rows")
    std: list[Floats]

    @property
    def size(self) -> int:
        """Columns of a chunk."""
        return len(self.units)

    @model_validator(mode="after")
    def _sizes(self) -> ActionSpec:
        for name, rows in (("mean", self.mean), ("std", self.std)):
            if len(rows) != self.horizon or any(len(row) != 4 for row in rows):
                raise ValueError(f"action {name} needs {self.horizon} rows of 4 values")
        if self.execute_steps > self.horizon:
            raise ValueError(f"execute_steps {self.execute_steps} is above horizon {self.horizon}")
        if min(min(row) for row in self.std) <= 0:
            raise ValueError("action std must be above 0")
        return self


class ObservationSpec(Strict):
    """What the policy looks at: objects that perception finds, or keypoints of an encoder."""

    kind: Literal["objects", "points", "images"] = Field("objects", exclude_if=_is_objects)
    objects: list[str] = Field(description="names of objects, or of keypoints")
    prompt_size: int = Field(ge=0)
    mean: Floats
    std: Floats
    encoder: EncoderSpec | None = Field(None, exclude_if=_is_none)

    @model_validator(mode="after")
    def _encoder_fits(self) -> ObservationSpec:
        kind = "objects" if self.encoder is None else self.encoder.kind
        if kind != self.kind:
            raise ValueError(f"observation kind {self.kind} has an encoder of {kind}")
        if self.encoder is not None and len(self.objects) != self.encoder.keypoints:
            raise ValueError(f"{len(self.objects)} names for {self.encoder.keypoints} keypoints")
        return self


class ContextSmoothing(Strict):
    """Which parts of the context were smoothed in training, and with how many timesteps."""

    smoothed: list[Literal["prompt", "objects", "state"]]
    steps: int = 1000
    schedule: Literal["uniform_amplitude"] = "uniform_amplitude"
    rms_normalised: bool = False


class NetworkSpec(Strict):
    """Sizes of the network."""

    width: int = 96
    blocks: int = 3
    heads: int = 4
    context_hidden: int = 256
    patch: int = 4
    flow_steps: int = Field(8, ge=1)


class TrainingRecord(Strict):
    """Where the weights come from."""

    command: str
    task: str
    demonstrations: int
    samples: int
    iterations: int
    seed: int
    data_sha256: str
    prompts: list[str]


class PolicySpec(BundleSpec):
    """The content of `policy.json`."""

    format: Literal[1, 2] = 2
    kind: Literal["state_flow", "keypoint_flow", "served"] = "state_flow"
    action: ActionSpec
    observation: ObservationSpec
    smoothing: ContextSmoothing
    network: NetworkSpec
    training: TrainingRecord
    capabilities: list[str] = Field(
        [item.value for item in Capability], description="what it can be steered by"
    )
    max_samples: int = Field(1024, ge=1, description="chunks it can make for one decision")
    weights_sha256: str

    @model_validator(mode="after")
    def _kinds_agree(self) -> PolicySpec:
        if (self.kind == "keypoint_flow") != (self.observation.encoder is not None):
            raise ValueError(f"a {self.kind} policy of {self.observation.kind}")
        return self

    @property
    def context(self) -> ContextSpec:
        """Layout of the context vector."""
        return ContextSpec(
            tuple(self.observation.objects),
            self.observation.prompt_size,
            tuple(self.smoothing.smoothed),
        )

    @property
    def flow_size(self) -> FlowSize:
        """Sizes for `FlowPolicy`."""
        n = self.network
        return FlowSize(
            self.action.horizon,
            self.action.size,
            self.context.size,
            n.width,
            n.blocks,
            n.heads,
            n.context_hidden,
            n.patch,
        )


FOLDER = BundleFolder(
    "policy",
    PolicySpec,
    SPEC_FILE,
    "make it with `tmrl pretrain` or name another with task.bundle=...",
)


def save_bundle(folder: Path, spec: PolicySpec, policy: FlowPolicy) -> PolicySpec:
    """Write a bundle; returns the spec with the weights' hash filled in."""
    return FOLDER.save(folder, spec, policy)


def read_spec(folder: Path) -> PolicySpec:
    """Read and check `policy.json`.

    Raises:
        BundleError: A sentence that names the file and what is wrong with it.
    """
    return FOLDER.read(folder)


def network_of(spec: PolicySpec) -> FlowPolicy:
    """The untrained network that a spec describes, with its encoder if there is one."""
    mask = torch.from_numpy(spec.context.smoothed_mask())
    return FlowPolicy(spec.flow_size, mask, build(spec.observation.encoder))


def load_bundle(folder: Path) -> tuple[PolicySpec, FlowPolicy]:
    """Load a policy, its weights checked against the hash in `policy.json`.

    Raises:
        BundleError: A sentence that names the file and what is wrong with it.
    """
    spec = read_spec(folder)
    policy = network_of(spec)
    FOLDER.load_weights(folder, spec.weights_sha256, policy)
    return spec, policy


def check_bundle(folder: Path, config: Config) -> PolicySpec:
    """Compare a bundle with its own hash, robot, task and method before anything moves.

    Raises:
        BundleError: One sentence: what is damaged, or what the policy needs and what the
            configuration has.
    """
    spec = read_spec(folder)
    FOLDER.intact_weights(folder, spec.weights_sha256)
    # Bundles of before there was an overlap do not say that they can begin with given rows.
    check_fit(spec, config, folder / SPEC_FILE, committed=True)
    return spec


def check_fit(
    spec: PolicySpec, config: Config, where: Path | str, *, committed: bool = False
) -> None:
    """Compare a policy with robot, task and method.

    Args:
        spec: The policy's description.
        config: The resolved configuration.
        where: File or server that the description comes from.
        committed: It can begin with given rows, also if it does not say so.

    Raises:
        BundleError: One sentence: what the policy needs and what the configuration has.
    """
    robot = config.robot
    if spec.action.rate_hz != robot.control_rate_hz:
        raise BundleError(
            f"{where}: the policy's actions are for {spec.action.rate_hz:g} Hz, "
            f"robot.control_rate_hz is {robot.control_rate_hz:g}."
        )
    if _base(spec.action.frame) != _base(robot.base_frame):
        raise BundleError(
            f"{where}: the policy acts in frame {spec.action.frame!r}, "
            f"robot.base_frame is {robot.base_frame!r}."
        )
    _check_observation(spec.observation, config, where)
    check_capabilities(spec, config.method, where)
    check_overlap(spec, config.session.overlap_rows, where, committed=committed)


def _base(frame: str) -> str:
    """A frame without the arm's model: panda_link0 and fr3_link0 are the same place."""
    return frame.removeprefix("panda_").removeprefix("fr3_")


def _check_observation(observation: ObservationSpec, config: Config, where: Path | str) -> None:
    if observation.encoder is not None:
        if why := observation.encoder.misfit(config.cameras):
            raise BundleError(
                f"{where}: the policy {why}; set it as in training, or train a policy here with "
                "`tmrl pretrain`."
            )
        return
    known = [item.name for item in config.task.objects]
    missing = [name for name in observation.objects if name not in known]
    if missing:
        raise BundleError(
            f"{where}: the policy looks at object {missing[0]!r}, "
            f"task {config.task.name} finds only {known}."
        )
