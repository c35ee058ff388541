"""Policies of a blind comparison: taken out of sessions beforehand, and loaded to act in turns."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tmrl_ros.core.comparison import ContenderConfig
from tmrl_ros.core.config import Config, PolicyConfig
from tmrl_ros.core.errors import BundleError, OperatorError
from tmrl_ros.core.load import read_config
from tmrl_ros.data.episodes_log import write_bytes_atomic
from tmrl_ros.learning.acting import ActingPolicy
from tmrl_ros.learning.core import LearnerCore
from tmrl_ros.learning.methods import Sizes
from tmrl_ros.policies.bundle import check_bundle, read_spec
from tmrl_ros.policies.context import feature_size

WEIGHTS_FILE, METADATA_FILE = "acting.safetensors", "acting.json"


@dataclass(frozen=True)
class Contender:
    """A policy that acts, and the hash of its bundle."""

    acting: ActingPolicy
    bundle_hash: str

    @property
    def method(self) -> str:
        """Method it acts by; `base` where nothing was learned."""
        return self.acting.method.name


def config_of(config: Config, contender: ContenderConfig) -> Config:
    """The session's configuration, as if the contender alone acted in it."""
    task = config.task.model_copy(update={"bundle": contender.bundle})
    own = {"task": task, "method": contender.method, "policy": PolicyConfig()}
    return config.model_copy(update=own)


def load_contenders(config: Config, make: Callable[[Config], ActingPolicy]) -> dict[str, Contender]:
    """All contenders by letter.

    Args:
        config: The resolved configuration.
        make: Loads the policy of a configuration.

    Raises:
        OperatorError: A bundle is damaged or does not fit, or weights are missing or of another
            method or policy.
    """
    found = {}
    for letter, contender in config.comparison.coded(config.session.seed).items():
        own = config_of(config, contender)
        spec = check_bundle(contender.bundle, own)
        acting = make(own)
        if contender.weights is not None:
            _install(acting, contender.weights, contender.name)
        found[letter] = Contender(acting, spec.digest())
    return found


def _install(acting: ActingPolicy, folder: Path, name: str) -> None:
    try:
        weights = (folder / WEIGHTS_FILE).read_bytes()
        acting.install(weights, (folder / METADATA_FILE).read_text(), version=1)
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"What contender {name} has learned cannot be used: {error}.") from None


def take_out(session: Path, out: Path) -> None:
    """Write what a session has learned, to act with.

    Raises:
        OperatorError: The session has no checkpoint, or a damaged one.
    """
    config = read_config(session / "config.yaml")
    if config.policy.remote:
        raise OperatorError(
            f"{session} acted with a policy of {config.policy.url}, which cannot be compared: only "
            "policies of bundles can."
        )
    spec = read_spec(config.task.bundle)
    sizes = Sizes(feature_size(spec.context), spec.action.size, spec.context.size)
    checkpoints = session / "checkpoints"
    if not (checkpoints / "learner.json").is_file():
        raise OperatorError(
            f"{session} has learned nothing (no checkpoints/learner.json): name its bundle instead."
        )
    core = LearnerCore(config.method, sizes, config.session.seed, checkpoints)
    core.restore([])
    weights = core.weights()
    write_bytes_atomic(out / WEIGHTS_FILE, weights.data)
    write_bytes_atomic(out / METADATA_FILE, weights.metadata_json.encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Take weights out of sessions: `session=out ...`."""
    parser = argparse.ArgumentParser(prog="python -m tmrl_ros.learning.contenders")
    parser.add_argument("pairs", nargs="+", metavar="session=out")
    for pair in parser.parse_args(argv).pairs:
        session, _, out = pair.rpartition("=")
        try:
            take_out(Path(session), Path(out))
        except OperatorError as error:
            print(json.dumps({"error": str(error)}))
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
