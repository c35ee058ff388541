"""What the keys are worth to Fast DDS itself: who sees a topic, and who may command the arm.

The pip build of Fast DDS lacks the security plug-ins. This needs one that has them, with its
headers: Debian's `libfastrtps-dev`, or its files below the folder that TMRL_SECURE_FASTDDS names.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tmrl_ros.cli.keys import make_keystore
from tmrl_ros.core.security import enclave_folder, has_security

PREFIX = Path(os.environ.get("TMRL_SECURE_FASTDDS", "/usr"))
LIBRARIES = (PREFIX / "lib" / "x86_64-linux-gnu", PREFIX / "lib")
HEADER = PREFIX / "include" / "fastdds" / "dds" / "domain" / "DomainParticipant.hpp"
LIBRARY = next((place for place in LIBRARIES if (place / "libfastrtps.so").exists()), None)
TARGET, CHUNK = "rt/robot/target", "rt/action_chunk"


def why_not():
    if LIBRARY is None or not HEADER.exists() or shutil.which("g++") is None:
        return "no Fast DDS with headers (libfastrtps-dev) and g++ here"
    return "" if has_security(LIBRARY / "libfastrtps.so") else "this Fast DDS has no security"


pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "keys")


@pytest.fixture(scope="module")
def keystore(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    make_keystore(folder)
    return folder


@pytest.fixture(scope="module")
def talk(tmp_path_factory, domain_id):
    """Two ends of one topic with a key each; says what became of (publisher, subscriber)."""
    program = tmp_path_factory.mktemp("talk") / "talk"
    source = Path(__file__).with_name("talk.cpp")
    words = ["g++", "-std=c++17", "-O0", str(source), "-o", str(program)]
    words += [f"-I{PREFIX}/include", f"-I{PREFIX}/include/x86_64-linux-gnu", f"-L{LIBRARY}"]
    words += ["-lfastrtps", "-lfastcdr"]
    subprocess.run([*words, "-Wl,--allow-shlib-undefined"], check=True)
    environment = {"LD_LIBRARY_PATH": str(LIBRARY)}

    def start(kind, topic, key, seconds):
        argv = [str(program), kind, str(domain_id), topic, str(key), str(seconds)]
        return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True)

    def go(topic, publisher, subscriber):
        ends = [start("sub", topic, subscriber, 12), start("pub", topic, publisher, 11)]
        subscribed, published = (verdict(end.communicate()[0]) for end in ends)
        return published, subscribed

    return go


def verdict(output):
    """The program's own line; the library says more, in colours."""
    return next(x for x in output.splitlines() if x.startswith(("matched", "refused")))


def received(said):
    return int(said.split()[-1])


@pytest.mark.parametrize(
    ("topic", "publisher", "subscriber"),
    [(TARGET, "robot", "robot"), (CHUNK, "gpu", "robot"), (TARGET, "robot", "viewer")],
)
def test_who_has_a_key_is_heard(talk, keystore, topic, publisher, subscriber):
    ends = (enclave_folder(keystore, role) for role in (publisher, subscriber))
    assert received(talk(topic, *ends)[1]) > 0


def test_who_has_no_key_sees_no_topic_and_commands_nothing(talk, keystore):
    robot = enclave_folder(keystore, "robot")
    assert talk(TARGET, robot, "-") == ("matched 0 received 0", "matched 0 received 0")
    assert talk(TARGET, "-", robot) == ("matched 0 received 0", "matched 0 received 0")


def test_a_key_of_another_authority_is_none(talk, keystore, tmp_path):
    make_keystore(tmp_path)
    stranger, robot = enclave_folder(tmp_path, "robot"), enclave_folder(keystore, "robot")
    assert talk(TARGET, stranger, robot) == ("matched 0 received 0", "matched 0 received 0")


@pytest.mark.parametrize(
    "topic", ["rr/safety_supervisor/stopReply", "rq/safety_supervisor/resetRequest"]
)
def test_only_the_robot_pc_speaks_for_the_stop(talk, keystore, topic):
    gpu, robot = enclave_folder(keystore, "gpu"), enclave_folder(keystore, "robot")
    assert talk(topic, gpu, robot)[0] == "refused endpoint"


@pytest.mark.parametrize("role", ["gpu", "viewer"])
def test_only_the_robot_pc_may_command_the_arm(talk, keystore, role):
    published, subscribed = talk(
        TARGET, enclave_folder(keystore, role), enclave_folder(keystore, "robot")
    )
    assert published == "refused endpoint"
    assert received(subscribed) == 0


def test_permissions_that_somebody_has_changed_are_none(talk, keystore, tmp_path):
    forged = tmp_path / "forged"
    shutil.copytree(enclave_folder(keystore, "viewer"), forged)
    file = forged / "permissions.p7s"
    text = file.read_text()
    assert "<topic>rt/rosout</topic>" in text
    file.write_text(text.replace("<topic>rt/rosout</topic>", "<topic>*</topic>"))
    published, _ = talk(TARGET, forged, enclave_folder(keystore, "robot"))
    assert published == "refused participant"
