"""DDS Security: which key this computer uses, and whether it can."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.hosts import ALL, ROBOT

LIBRARY = "libfastrtps.so"
PLUGIN = b"DDS:Auth:PKI-DH"
NEEDED = ("key.pem", "cert.pem", "permissions.p7s", "governance.p7s", "identity_ca.cert.pem")


def enclave_of(role: str) -> str:
    """Name of a role's enclave: `robot`, `gpu` or `viewer`."""
    return f"/tmrl/{role}"


def enclave_folder(keystore: Path, role: str) -> Path:
    """Where its files lie."""
    return keystore / "enclaves" / enclave_of(role).lstrip("/")


def role_of(config: Config) -> str:
    """Whose key this computer uses."""
    host = config.session.host
    return ROBOT if host == ALL else host


def security_environment(config: Config) -> dict[str, str]:
    """Variables by which every process takes part with a key; without one, those that say so."""
    keystore = config.session.keys
    if keystore is None:
        return {"ROS_SECURITY_ENABLE": "false"}
    return {
        "ROS_SECURITY_ENABLE": "true",
        "ROS_SECURITY_STRATEGY": "Enforce",
        "ROS_SECURITY_KEYSTORE": str(keystore.absolute()),
        "ROS_SECURITY_ENCLAVE_OVERRIDE": enclave_of(role_of(config)),
    }


def check_security(config: Config) -> None:
    """Look whether the keys that a session names can be used.

    Raises:
        ConfigurationError: A file is missing, or Fast DDS was built without the plug-ins.
    """
    keystore = config.session.keys
    if keystore is None:
        return
    folder = enclave_folder(keystore, role_of(config))
    for name in NEEDED:
        if not (folder / name).is_file():
            raise ConfigurationError(
                f"session.keys={keystore}: there is no {folder / name}. Make keys with `tmrl keys "
                f"{keystore}`, and copy this computer's folder here."
            )
    library = find_library(places())
    if library is not None and not has_security(library):
        raise ConfigurationError(
            f"session.keys={keystore} needs a Fast DDS with its security plug-ins, and {library} "
            "was built without: use ROS from its Debian packages (docs/install.md), or leave "
            "session.keys out."
        )


def places() -> list[Path]:
    """Folders in which the loader finds Fast DDS: ROS' own, the environment's, the system's."""
    paths = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    found = [Path(path) for path in paths if path]
    found += [Path(prefix) / "lib" for prefix in prefixes if prefix]
    return [*found, Path(sys.prefix) / "lib"]


def find_library(folders: Iterable[Path]) -> Path | None:
    """The first Fast DDS library of these folders."""
    return next((folder / LIBRARY for folder in folders if (folder / LIBRARY).is_file()), None)


def has_security(library: Path) -> bool:
    """Whether a Fast DDS library contains the authentication plug-in."""
    with (
        library.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return content.find(PLUGIN) >= 0
