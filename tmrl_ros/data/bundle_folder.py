"""The folder that every bundle is: a JSON file that says what it is, its weights beside it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from tmrl_ros.core.errors import BundleError

WEIGHTS_FILE = "model.safetensors"


class Strict(BaseModel):
    """Unknown keys and non-finite numbers are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BundleSpec(Strict):
    """The content of a bundle's JSON file; a subclass has a field `weights_sha256`."""

    def digest(self) -> str:
        """Hash that names this bundle in messages and reports."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


Spec = TypeVar("Spec", bound=BundleSpec)


@dataclass(frozen=True)
class BundleFolder(Generic[Spec]):
    """Reads and writes bundles of one kind.

    Attributes:
        kind: What is in them, in a sentence: "policy".
        spec: Content of the JSON file.
        spec_file: Its name.
        remake: How to come by a bundle, in a sentence.
    """

    kind: str
    spec: type[Spec]
    spec_file: str
    remake: str

    def save(self, folder: Path, spec: Spec, network: nn.Module) -> Spec:
        """Write a bundle; returns the spec with the weights' hash filled in."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        save_file(weights, folder / WEIGHTS_FILE)
        spec = spec.model_copy(update={"weights_sha256": _sha256(folder / WEIGHTS_FILE)})
        (folder / self.spec_file).write_text(json.dumps(spec.model_dump(), indent=1) + "\n")
        return spec

    def read(self, folder: Path) -> Spec:
        """Read and check the JSON file.

        Raises:
            BundleError: A sentence that names the file and what is wrong with it.
        """
        path = folder / self.spec_file
        if not path.is_file():
            raise BundleError(
                f"There is no {self.kind} bundle at {folder} ({self.spec_file} is missing): "
                f"{self.remake}."
            )
        try:
            return self.spec.model_validate_json(path.read_text())
        except ValidationError as error:
            first = error.errors()[0]
            key, what = ".".join(str(part) for part in first["loc"]), first["msg"]
        except UnicodeDecodeError as error:
            key, what = "", str(error)
        raise BundleError(f"{path} is damaged ({key or 'content'}: {what}): {self.remake}.")

    def intact_weights(self, folder: Path, sha256: str) -> Path:
        """The file with the weights, compared with the hash that the spec gives.

        Raises:
            BundleError: A sentence that names the file and what is wrong with it.
        """
        path = folder / WEIGHTS_FILE
        if not path.is_file():
            raise BundleError(
                f"The {self.kind} bundle {folder} has no {WEIGHTS_FILE}: copy it again."
            )
        found = _sha256(path)
        if found != sha256:
            raise BundleError(
                f"{path} is damaged: its hash is {found[:12]}, {self.spec_file} says "
                f"{sha256[:12]}. Copy it again."
            )
        return path

    def load_weights(self, folder: Path, sha256: str, network: nn.Module) -> None:
        """Put intact weights into a network and freeze it for inference.

        Raises:
            BundleError: A sentence that names the file and what is wrong with it.
        """
        path = self.intact_weights(folder, sha256)
        try:
            network.load_state_dict(load_file(path))
        except (SafetensorError, RuntimeError) as error:
            first = str(error).strip().splitlines()[0]
            raise BundleError(
                f"{path} does not hold the network that {self.spec_file} describes ({first})."
            ) from None
        network.eval().requires_grad_(False)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
