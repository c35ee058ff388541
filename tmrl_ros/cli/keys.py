"""`tmrl keys`: keys for DDS Security, one per computer, in the layout of SROS 2.

The folder is what `ROS_SECURITY_KEYSTORE` names, as `ros2 security` would make it; openssl is
enough here.
"""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tmrl_ros.cli.permissions import ROLES, governance, permissions
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.security import enclave_folder, enclave_of

DAYS = 3650
CURVE = ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
AUTHORITIES = ("identity_ca", "permissions_ca")
OPENSSL_S = 30.0


def keys(folder: Path) -> int:
    """Make what is missing in a keystore: the authority, and a key for every role.

    Raises:
        ConfigurationError: openssl is missing or refuses, or the folder cannot be written.
    """
    if shutil.which("openssl") is None:
        raise ConfigurationError("openssl is not installed: `sudo apt install openssl`.")
    try:
        made = make_keystore(folder)
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be written ({error.strerror}): name another folder."
        ) from None
    print(f"{', '.join(made) or 'Nothing'} made in {folder}.")
    for role in ROLES:
        print(f"  {role:7} gets {enclave_folder(folder, role)}")
    print(f"Keep {folder / 'private'} off every computer of the cell: who has it makes keys.")
    return 0


def make_keystore(folder: Path) -> list[str]:
    """Make what is missing; returns the names of what was made."""
    public, private, enclaves = (folder / name for name in ("public", "private", "enclaves"))
    for place in (public, private, enclaves):
        place.mkdir(parents=True, exist_ok=True)
    private.chmod(0o700)
    made = []
    if not (private / "ca.key.pem").exists():
        _authority(public / "ca.cert.pem", private / "ca.key.pem")
        made.append("authority")
    for name in AUTHORITIES:
        _link(public / f"{name}.cert.pem", "ca.cert.pem")
        _link(private / f"{name}.key.pem", "ca.key.pem")
    if not (enclaves / "governance.p7s").exists():
        (enclaves / "governance.xml").write_text(governance())
        _sign(folder, enclaves / "governance.xml")
    for role in ROLES:
        if not (enclave_folder(folder, role) / "permissions.p7s").exists():
            _enclave(folder, role)
            made.append(role)
    return made


def _authority(certificate: Path, key: Path) -> None:
    """A certificate authority of the cell's own."""
    new = ["req", "-x509", "-newkey", *CURVE, "-noenc", "-sha256", "-days", str(DAYS)]
    _openssl(*new, "-subj", "/CN=tmrl_ros", "-keyout", str(key), "-out", str(certificate))
    key.chmod(0o600)


def _enclave(folder: Path, role: str) -> None:
    """Key, certificate and signed permissions of one role."""
    place, name = enclave_folder(folder, role), enclave_of(role)
    place.mkdir(parents=True, exist_ok=True)
    request, subject = place / "request.pem", f"/CN={name.replace('/', chr(92) + '/')}"
    new = ["req", "-new", "-newkey", *CURVE, "-noenc", "-sha256", "-subj", subject]
    _openssl(*new, "-keyout", str(place / "key.pem"), "-out", str(request))
    (place / "key.pem").chmod(0o600)
    public, private = folder / "public", folder / "private"
    by = ["-CA", str(public / "ca.cert.pem"), "-CAkey", str(private / "ca.key.pem")]
    sign = ["x509", "-req", "-in", str(request), *by, "-CAcreateserial", "-CAserial"]
    sign += [str(private / "ca.srl"), "-sha256", "-days", str(DAYS)]
    _openssl(*sign, "-out", str(place / "cert.pem"))
    request.unlink()
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    text = permissions(name, role, begin, begin + timedelta(days=DAYS))
    (place / "permissions.xml").write_text(text)
    _sign(folder, place / "permissions.xml")
    # Copies, not links: the folder travels to its computer alone.
    for authority in AUTHORITIES:
        shutil.copy(public / "ca.cert.pem", place / f"{authority}.cert.pem")
    shutil.copy(folder / "enclaves" / "governance.p7s", place)


def _sign(folder: Path, file: Path) -> None:
    """Sign a document as DDS Security wants it (S/MIME, detached, as text)."""
    signer = ["-signer", str(folder / "public" / "permissions_ca.cert.pem")]
    signer += ["-inkey", str(folder / "private" / "permissions_ca.key.pem")]
    out = file.with_suffix(".p7s")
    _openssl("smime", "-sign", "-text", "-in", str(file), *signer, "-out", str(out))


def _link(link: Path, target: str) -> None:
    if not link.exists():
        link.symlink_to(target)


def _openssl(*words: str) -> None:
    done = subprocess.run(
        ["openssl", *words], capture_output=True, text=True, timeout=OPENSSL_S, check=False
    )
    if done.returncode:
        said = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise ConfigurationError(f"openssl {words[0]} refused: {said}")
