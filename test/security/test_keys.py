"""Keys of `tmrl keys`: complete, signed by one authority, refused where they cannot be used."""

import shutil
import subprocess

import pytest

from tmrl_ros.cli.keys import keys, make_keystore
from tmrl_ros.cli.permissions import COMMANDS, ROLES
from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.load import config_hash, load_config
from tmrl_ros.core.security import (
    NEEDED,
    check_security,
    enclave_folder,
    find_library,
    has_security,
    places,
)

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture(scope="module")
def keystore(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    make_keystore(folder)
    return folder


def openssl(*words):
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True)
    return done.returncode, done.stdout


@pytest.mark.parametrize("role", ROLES)
def test_every_key_is_certified_and_its_permissions_are_signed_for_it(keystore, role):
    folder, authority = enclave_folder(keystore, role), keystore / "public" / "ca.cert.pem"
    assert openssl("verify", "-CAfile", authority, folder / "cert.pem")[0] == 0
    for name in ("permissions", "governance"):
        words = ("smime", "-verify", "-in", folder / f"{name}.p7s", "-CAfile", authority)
        failed, text = openssl(*words)
        assert not failed and "<dds>" in text
    subject = openssl("x509", "-in", folder / "cert.pem", "-noout", "-subject")[1]
    assert subject.strip().replace(" ", "") == f"subject=CN=/tmrl/{role}"
    assert (
        f"<subject_name>CN=/tmrl/{role}</subject_name>" in (folder / "permissions.xml").read_text()
    )
    assert (folder / "key.pem").stat().st_mode & 0o077 == 0


def test_a_computer_s_folder_travels_alone(keystore, tmp_path):
    there = tmp_path / "keys"
    shutil.copytree(enclave_folder(keystore, "gpu"), enclave_folder(there, "gpu"))
    assert all((enclave_folder(there, "gpu") / name).is_file() for name in NEEDED)
    assert not list(there.rglob("ca.key.pem"))


def test_a_second_run_makes_what_is_missing_and_nothing_else(keystore, capsys):
    before = (enclave_folder(keystore, "robot") / "key.pem").read_bytes()
    shutil.rmtree(enclave_folder(keystore, "viewer"))
    assert keys(keystore) == 0
    assert capsys.readouterr().out.startswith(f"viewer made in {keystore}.")
    assert (enclave_folder(keystore, "robot") / "key.pem").read_bytes() == before


def test_what_commands_the_arm_is_denied_to_all_but_the_robot_pc(keystore):
    text = (enclave_folder(keystore, "gpu") / "permissions.xml").read_text()
    denied = text.split("<deny_rule>")[1].split("</deny_rule>")[0]
    for topic in (*COMMANDS, "safety_supervisor/resetRequest", "safety_supervisor/*Reply"):
        assert f"*{topic}</topic>" in denied
    assert (
        "<topic>*</topic>"
        not in (enclave_folder(keystore, "viewer") / "permissions.xml").read_text()
    )


def test_processes_take_part_with_the_key_of_their_computer(keystore):
    two = ["session.localhost_only=false", "session.host=gpu", f"session.keys={keystore}"]
    found = node_environment(load_config(two))
    assert found["ROS_SECURITY_ENABLE"] == "true"
    assert found["ROS_SECURITY_STRATEGY"] == "Enforce"
    assert found["ROS_SECURITY_KEYSTORE"] == str(keystore)
    assert found["ROS_SECURITY_ENCLAVE_OVERRIDE"] == "/tmrl/gpu"
    assert node_environment(load_config())["ROS_SECURITY_ENABLE"] == "false"
    assert config_hash(load_config(two)) == config_hash(load_config(two[:1]))


def test_a_missing_key_is_one_sentence(tmp_path):
    with pytest.raises(
        ConfigurationError, match=r"there is no .*key.pem. Make keys with `tmrl keys"
    ):
        check_security(load_config([f"session.keys={tmp_path / 'none'}"]))


def test_a_fast_dds_without_plug_ins_is_one_sentence(keystore):
    library = find_library(places())
    if library is None or has_security(library):
        pytest.skip("this Fast DDS has its security plug-ins")
    with pytest.raises(ConfigurationError, match="needs a Fast DDS with its security plug-ins"):
        check_security(load_config([f"session.keys={keystore}"]))


def test_plug_ins_are_found_by_their_name(tmp_path):
    library = tmp_path / "libfastrtps.so"
    library.write_bytes(b"\0" * 5000 + b"DDS:Auth:PKI-DH:1.0" + b"\0" * 5000)
    assert find_library([tmp_path / "elsewhere", tmp_path]) == library
    assert has_security(library)
    library.write_bytes(b"\0" * 5000)
    assert not has_security(library)
