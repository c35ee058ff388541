"""LeRobot's own policy classes, without the training stack their packages pull in.

`import lerobot.policies.pi0` runs package files that import data sets, environments and video
codecs: torchvision (whose wheel on PyPI refuses a torch without CUDA), gymnasium, and modules
written for Python 3.12. The files with the models need none of it. So the packages are entered
here without running their `__init__`, and the few names of the training stack that the models'
files mention only in annotations are empty classes. The classes returned are LeRobot's,
unchanged; a process that has imported `lerobot.policies` itself gets those.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tmrl_ros.core.errors import OperatorError

KINDS = ("smolvla", "pi0", "pi05")
INSTALL = "install it with `make vla` (requirements-vla.txt)"
# Names that LeRobot's model files import for annotations and training presets.
UNUSED = {
    "lerobot.optim": (
        "AdamWConfig",
        "CosineDecayWithWarmupSchedulerConfig",
        "LRSchedulerConfig",
        "OptimizerConfig",
    ),
    "lerobot.configs.train": ("TrainPipelineConfig",),
}
PACKAGES = ("policies", *(f"policies.{name}" for name in (*KINDS, "rtc")), "configs", "optim")


@dataclass(frozen=True)
class PolicyClasses:
    """LeRobot's classes of one kind of policy, and the module its model is in."""

    kind: str
    config: Any
    policy: Any
    modelling: ModuleType


def missing() -> str:
    """Why no VLA can be hosted here, as a sentence; empty if one can."""
    for name in ("lerobot", "transformers", "draccus"):
        if importlib.util.find_spec(name) is None:
            return f"Vision-language-action models need the package {name}: {INSTALL}."
    return ""


def policy_classes(kind: str) -> PolicyClasses:
    """Import the configuration and policy class of one of `KINDS`.

    Raises:
        OperatorError: The kind is unknown, or LeRobot is not installed or does not load.
    """
    if kind not in KINDS:
        raise OperatorError(f"Policies of type {kind!r} are not supported: use one of {KINDS}.")
    if reason := missing():
        raise OperatorError(reason)
    try:
        if "lerobot.policies" not in sys.modules:
            _enter_packages()
        configuration = importlib.import_module(f"lerobot.policies.{kind}.configuration_{kind}")
        modelling = importlib.import_module(f"lerobot.policies.{kind}.modeling_{kind}")
    except (ImportError, SyntaxError) as error:
        raise OperatorError(f"LeRobot's {kind} does not load here ({error}): {INSTALL}.") from error
    name = {"smolvla": "SmolVLA", "pi0": "PI0", "pi05": "PI05"}[kind]
    config, policy = getattr(configuration, f"{name}Config"), getattr(modelling, f"{name}Policy")
    return PolicyClasses(kind, config, policy, modelling)


def _enter_packages() -> None:
    """Make LeRobot's packages importable by their files."""
    spec = importlib.util.find_spec("lerobot")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("lerobot is not a package")
    root = Path(spec.submodule_search_locations[0])
    importlib.import_module("lerobot")
    for name in PACKAGES:
        package = _module(f"lerobot.{name}")
        package.__path__ = [str(root.joinpath(*name.split(".")))]
    for module, names in UNUSED.items():
        found = sys.modules.get(module) or _module(module)
        for name in names:
            setattr(found, name, type(name, (), {}))
    configs = sys.modules["lerobot.configs"]
    types = importlib.import_module("lerobot.configs.types")
    vars(configs).update({key: value for key, value in vars(types).items() if key[0].isupper()})
    policies = importlib.import_module("lerobot.configs.policies")
    configs.PreTrainedConfig = policies.PreTrainedConfig  # type: ignore[attr-defined]


def _module(name: str) -> ModuleType:
    module = ModuleType(name)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, module)
    return module
