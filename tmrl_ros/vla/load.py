"""Load a VLA from a LeRobot checkpoint: a local folder, or a name on the hub."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from tmrl_ros.core.errors import BundleError, OperatorError
from tmrl_ros.vla import checkpoint_files as files
from tmrl_ros.vla.backbone import IMAGES, Backbone, backbone_of
from tmrl_ros.vla.building import TOKENIZER_FOLDER, VLM_FOLDER, build_policy, to_half
from tmrl_ros.vla.csp import ContextSmoothing
from tmrl_ros.vla.interface import VlaModel, VlaSpec
from tmrl_ros.vla.lerobot_classes import KINDS, missing, policy_classes
from tmrl_ros.vla.model import LerobotVla
from tmrl_ros.vla.processing import Scale, tokenise
from tmrl_ros.vla.sampling import Compile, Sampler

PALIGEMMA = "google/paligemma-3b-pt-224"
EMPTY_CAMERA = "empty_camera"
CAPABILITIES = (
    "action_noise",
    "batch",
    "committed",
    "context_seed",
    "context_timestep",
    "low_rank_noise",
)


@dataclass(frozen=True)
class ModelOptions:
    """How a model computes; `auto` is bfloat16 on a GPU and float32 elsewhere."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: Compile = "off"


@dataclass
class Parts:
    """A checkpoint in memory; `policy` is LeRobot's."""

    folder: Path
    policy: Any
    backbone: Backbone
    smoothing: ContextSmoothing
    tokenizer: Any
    scales: dict[str, Scale]
    deployment: files.Deployment
    device: torch.device

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras the policy looks at."""
        return cameras_of(self.policy.config)


def load_model(folder: Path, device: str = "auto", options: ModelOptions | None = None) -> VlaModel:
    """Load a checkpoint for serving.

    Args:
        folder: A LeRobot checkpoint, or `owner/name` on the hub.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        options: Precision and compilation.

    Raises:
        OperatorError: Something is missing, damaged or unknown; the text says what.
    """
    return host(load_parts(folder, device), options or ModelOptions())


def host(parts: Parts, options: ModelOptions) -> LerobotVla:
    """Make a model that answers requests of what was loaded."""
    half = options.precision == "bfloat16" or (
        options.precision == "auto" and parts.device.type == "cuda"
    )
    if half:
        to_half(parts.policy)
    sampler = Sampler(parts.backbone, parts.smoothing, options.compile)
    return LerobotVla(spec_of(parts), sampler, parts.tokenizer, parts.scales, parts.device)


def load_parts(folder: Path, device: str = "auto") -> Parts:
    """Load a checkpoint in float32, for serving or training.

    Raises:
        OperatorError: Something is missing, damaged or unknown; the text says what.
    """
    if reason := missing():
        raise OperatorError(reason)
    folder = local_folder(folder)
    deployment = files.read_deployment(folder)
    config = read_config(folder)
    sizes = {
        files.STATE: feature_size(config.input_features, files.STATE, folder),
        files.ACTION: feature_size(config.output_features, files.ACTION, folder),
    }
    scales = files.read_scales(folder, sizes)
    where = torch.device(_device(device))
    parts = assemble(folder, config, scales, deployment, where)
    if (folder / files.CSP_WEIGHTS).is_file():
        try:
            parts.smoothing.load_state_dict(files.load_weights(folder / files.CSP_WEIGHTS))
        except RuntimeError as error:
            raise BundleError(f"{folder / files.CSP_WEIGHTS} does not fit ({error}).") from None
    return parts


def assemble(
    folder: Path,
    config: Any,
    scales: dict[str, Scale],
    deployment: files.Deployment,
    device: torch.device,
    policy: Any = None,
) -> Parts:
    """Build the policy of a configuration with a checkpoint's weights, and smoothing around it.

    Args:
        folder: Of the checkpoint.
        config: LeRobot's.
        scales: Of state and action.
        deployment: What `tmrl.json` says.
        device: Where it computes.
        policy: One that is built already, with its weights.

    Raises:
        OperatorError: Weights or tokenizer are missing or of another policy.
    """
    config.device = str(device)
    if policy is None:
        policy = build_policy(config, folder)
        _load_weights(policy, folder)
    policy.to(device).eval()
    backbone = backbone_of(policy)
    smoothing = ContextSmoothing(backbone.time_width, smooth_state=deployment.csp.smooth_state)
    tokenizer = _tokenizer(folder, config)
    parts = Parts(
        folder, policy, backbone, smoothing.to(device), tokenizer, scales, deployment, device
    )
    with torch.no_grad():
        smoothing.calibrate(backbone.embed(_neutral(parts)))
    return parts


def local_folder(folder: Path) -> Path:
    """The folder itself, or where the hub's snapshot of that name lies.

    Raises:
        OperatorError: It is neither.
    """
    if folder.is_dir():
        return folder
    name = str(folder)
    if name.startswith((".", "/")) or name.count("/") != 1:
        raise BundleError(f"{folder} is no folder: name a checkpoint's folder or owner/name.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise BundleError(
            f"{name} is neither a folder here nor could it be loaded from the hub ({first}): copy "
            "the checkpoint to this machine and name its folder."
        ) from None


def read_config(folder: Path) -> Any:
    """LeRobot's configuration of a checkpoint.

    Raises:
        BundleError: It is missing, damaged or of another kind of policy.
    """
    file = folder / files.CONFIG
    try:
        kind = str(json.loads(file.read_text())["type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{file} is no LeRobot policy's configuration ({type(error).__name__}: {error})."
        ) from None
    if kind not in KINDS:
        raise BundleError(f"{file}: policies of type {kind!r} are not hosted: use one of {KINDS}.")
    policy_classes(kind)
    from lerobot.configs.policies import PreTrainedConfig

    try:
        return PreTrainedConfig.from_pretrained(folder)
    except Exception as error:  # draccus has errors of its own, without a common base
        raise BundleError(f"{file} does not fit LeRobot's {kind} ({error}).") from None


def cameras_of(config: Any) -> tuple[str, ...]:
    """Names of cameras that a policy looks at; slots that stay empty are none."""
    names = (key.removeprefix(IMAGES) for key in config.image_features)
    return tuple(name for name in names if not name.startswith(EMPTY_CAMERA))


def feature_size(features: Any, key: str, folder: Path) -> int:
    """Length of a vector of a policy.

    Raises:
        BundleError: The policy has no such vector.
    """
    if key not in features:
        raise BundleError(f"{folder / files.CONFIG} says nothing of {key}.")
    return int(features[key].shape[0])


def spec_of(parts: Parts) -> VlaSpec:
    """What a loaded checkpoint is."""
    config = parts.policy.config
    return VlaSpec(
        name=parts.deployment.name or parts.folder.name,
        action_dim=feature_size(config.output_features, files.ACTION, parts.folder),
        horizon=parts.backbone.horizon,
        state_dim=feature_size(config.input_features, files.STATE, parts.folder),
        cameras=parts.cameras,
        capabilities=CAPABILITIES,
        model_sha256=files.sha256(parts.folder / files.WEIGHTS),
        normalisation_sha256=files.normalisation_sha256(parts.scales),
        action_space=parts.deployment.action_space,
        control_rate_hz=parts.deployment.control_rate_hz,
    )


def _load_weights(policy: Any, folder: Path) -> None:
    """Put the weights in; older pi0 checkpoints lack LeRobot's prefix `model.`."""
    tensors = files.load_weights(folder / files.WEIGHTS)
    if policy.config.type != "smolvla":
        tensors = policy._fix_pytorch_state_dict_keys(tensors, policy.config)
        tensors = {
            key if key.startswith("model.") else f"model.{key}": value
            for key, value in tensors.items()
        }
    try:
        lacking, strange = policy.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise BundleError(
            f"{folder / files.WEIGHTS} has other sizes than {files.CONFIG} says "
            f"({str(error).splitlines()[1].strip()})."
        ) from None
    # Tied weights and an unused head are saved once or not at all.
    lacking = [key for key in lacking if "lm_head" not in key]
    if lacking or strange:
        raise BundleError(
            f"{folder / files.WEIGHTS} is not of this policy: {len(lacking)} weights are missing "
            f"and {len(strange)} unknown, for example {(lacking + strange)[0]}."
        )


def _tokenizer(folder: Path, config: Any) -> Any:
    from transformers import AutoTokenizer

    name = config.vlm_model_name if config.type == "smolvla" else PALIGEMMA
    places = [folder / TOKENIZER_FOLDER, folder / VLM_FOLDER]
    place: Path | str = next((item for item in places if item.is_dir()), name)
    try:
        return AutoTokenizer.from_pretrained(place)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise BundleError(
            f"The tokenizer {name} is not here ({first}): save it into {places[0]}."
        ) from None


def _neutral(parts: Parts) -> dict[str, torch.Tensor]:
    """Black pictures, a state of zeros and no words: an observation of nothing."""
    config, device = parts.policy.config, parts.device
    state = torch.zeros(1, feature_size(config.input_features, files.STATE, parts.folder))
    tokens, words = tokenise(parts.tokenizer, [""], int(config.tokenizer_max_length))
    batch = {files.STATE: state, "observation.language.tokens": tokens}
    batch["observation.language.attention_mask"] = words
    for name in parts.cameras:
        batch[IMAGES + name] = torch.zeros(1, 3, 64, 64)
    return {key: value.to(device) for key, value in batch.items()}


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise OperatorError(f"device {name}: torch sees no GPU here; use device cpu or auto.")
    return name
