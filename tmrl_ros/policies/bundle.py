"""Policy bundles: a folder with `policy.json` (what it is) and `model.safetensors` (weights)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import BundleError
from tmrl_ros.policies.context import ContextSpec
from tmrl_ros.policies.flow import FlowPolicy, FlowSize

SPEC_FILE, WEIGHTS_FILE = "policy.json", "model.safetensors"
Floats = Annotated[list[float], Field(min_length=1)]


class Strict(BaseModel):
    """Unknown keys and non-finite numbers are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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
    """What the policy looks at."""

    objects: list[str]
    prompt_size: int = Field(ge=0)
    mean: Floats
    std: Floats


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


class PolicySpec(Strict):
    """The content of `policy.json`."""

    format: Literal[1] = 1
    kind: Literal["state_flow"] = "state_flow"
    action: ActionSpec
    observation: ObservationSpec
    smoothing: ContextSmoothing
    network: NetworkSpec
    training: TrainingRecord
    capabilities: list[str] = ["action_noise", "context_timestep", "batch"]
    weights_sha256: str

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

    def digest(self) -> str:
        """Hash that names this policy in messages and reports."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def save_bundle(folder: Path, spec: PolicySpec, policy: FlowPolicy) -> PolicySpec:
    """Write a bundle; returns the spec with the weights' hash filled in."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in policy.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    spec = spec.model_copy(update={"weights_sha256": _sha256(folder / WEIGHTS_FILE)})
    (folder / SPEC_FILE).write_text(json.dumps(spec.model_dump(), indent=1) + "\n")
    return spec


def read_spec(folder: Path) -> PolicySpec:
    """Read and check `policy.json`.

    Raises:
        BundleError: A sentence that names the file and what is wrong with it.
    """
    path = folder / SPEC_FILE
    remake = "make it with `tmrl pretrain` or name another with task.bundle=..."
    if not path.is_file():
        raise BundleError(
            f"There is no policy bundle at {folder} ({SPEC_FILE} is missing): {remake}."
        )
    try:
        return PolicySpec.model_validate_json(path.read_text())
    except (ValidationError, UnicodeDecodeError) as error:
        first = (
            error.errors()[0]
            if isinstance(error, ValidationError)
            else {"loc": (), "msg": str(error)}
        )
        key = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            f"{path} is damaged ({key or 'content'}: {first['msg']}): {remake}."
        ) from None


def load_bundle(folder: Path) -> tuple[PolicySpec, FlowPolicy]:
    """Load a policy, its weights checked against the hash in `policy.json`.

    Raises:
        BundleError: A sentence that names the file and what is wrong with it.
    """
    spec = read_spec(folder)
    path = _intact_weights(folder, spec)
    policy = FlowPolicy(spec.flow_size, torch.from_numpy(spec.context.smoothed_mask()))
    try:
        policy.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise BundleError(
            f"{path} does not hold the network that {SPEC_FILE} describes ({first})."
        ) from None
    return spec, policy.eval().requires_grad_(False)


def check_bundle(folder: Path, config: Config) -> PolicySpec:
    """Compare a bundle with its own hash, robot, task and method before anything moves.

    Raises:
        BundleError: One sentence: what is damaged, or what the policy needs and what the
            configuration has.
    """
    spec = read_spec(folder)
    _intact_weights(folder, spec)
    where = folder / SPEC_FILE
    robot, task = config.robot, config.task
    if spec.action.rate_hz != robot.control_rate_hz:
        raise BundleError(
            f"{where}: the policy's actions are for {spec.action.rate_hz:g} Hz, "
            f"robot.control_rate_hz is {robot.control_rate_hz:g}."
        )
    if spec.action.frame != robot.base_frame:
        raise BundleError(
            f"{where}: the policy acts in frame {spec.action.frame!r}, "
            f"robot.base_frame is {robot.base_frame!r}."
        )
    known = [item.name for item in task.objects]
    missing = [name for name in spec.observation.objects if name not in known]
    if missing:
        raise BundleError(
            f"{where}: the policy looks at object {missing[0]!r}, "
            f"task {task.name} finds only {known}."
        )
    if config.method.learns:
        wanted = {"action_noise"} | (
            {"context_timestep"} if config.method.name == "tmrl" else set()
        )
        needs = wanted - set(spec.capabilities)
        if needs:
            raise BundleError(
                f"{where}: method {config.method.name} needs a policy that takes {sorted(needs)}; "
                "use method=base or another bundle."
            )
    return spec


def _intact_weights(folder: Path, spec: PolicySpec) -> Path:
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise BundleError(f"The policy bundle {folder} has no {WEIGHTS_FILE}: copy it again.")
    found = _sha256(path)
    if found != spec.weights_sha256:
        raise BundleError(
            f"{path} is damaged: its hash is {found[:12]}, {SPEC_FILE} says "
            f"{spec.weights_sha256[:12]}. Copy it again."
        )
    return path


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
