"""A cable in user space between two namespaces: it carries, delays, loses, and comes back."""

import os
import re
import subprocess

import pytest

from tmrl_ros.cli.two_pcs import TwoPcs, on_pc, why_not
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.rehearsal.cable import Manner, change_cable, manner_of

TALK = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.5)
got, trips = 0, []
for number in range(int(sys.argv[1])):
    sent = time.monotonic()
    s.sendto(str(number).encode(), ("10.77.0.2", 5000))
    try:
        while s.recv(100).decode() != str(number):
            pass
    except TimeoutError:
        continue
    got += 1
    trips.append(time.monotonic() - sent)
print(got, min(trips, default=0.0))
"""
ANSWER = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.77.0.2", 5000))
print("ready", flush=True)
while True:
    s.sendto(*s.recvfrom(100))
"""


@pytest.mark.parametrize(
    ("words", "manner"),
    [
        ("", Manner()),
        ("loss 30%", Manner(loss=0.3)),
        ("delay 300ms", Manner(delay_s=0.3)),
        ("delay 2.5ms loss 100%", Manner(loss=1.0, delay_s=0.0025)),
    ],
)
def test_words_say_how_it_carries(words, manner):
    assert manner_of(words) == manner


def test_other_words_are_refused_in_a_sentence():
    with pytest.raises(
        ConfigurationError, match=r"does not know 'delay 3ms reorder': write `delay 300ms`"
    ):
        manner_of("delay 3ms reorder")


@pytest.fixture
def pcs(tmp_path):
    if why := why_not():
        pytest.skip(why)
    with TwoPcs(tmp_path) as pcs:
        yield pcs


@pytest.fixture
def talk(pcs):
    """Sends packets from the robot PC; how many came back, and the quickest trip, s."""
    argv = [*on_pc("gpu"), "python3", "-I", "-c", ANSWER]
    answering = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert answering.stdout.readline() == "ready\n"

    def go(packets):
        argv = [*on_pc("robot"), "python3", "-I", "-c", TALK, str(packets)]
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
        return int(said[0]), float(said[1])

    yield go
    answering.kill()
    answering.communicate()


def manner(pcs, words):
    """Change the cable; its next look is at most a moment away, and packets before do not count."""
    change_cable(pcs.cable, words)
    subprocess.run(["sleep", "0.5"], check=True)


def test_it_carries_delays_loses_and_comes_back(pcs, talk):
    assert talk(5)[0] == 5
    manner(pcs, "delay 60ms")
    came, trip_s = talk(3)
    assert came == 3 and trip_s >= 0.12
    manner(pcs, "loss 50%")
    assert 0 < talk(40)[0] < 40
    manner(pcs, "down")
    assert talk(2)[0] == 0
    manner(pcs, "")
    assert talk(5)[0] == 5


def test_nothing_is_left_behind(tmp_path):
    if why := why_not():
        pytest.skip(why)
    with TwoPcs(tmp_path):
        pass
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    assert not re.search(r"^tmrl_(robot|gpu)\b", listed.stdout, re.MULTILINE)
    assert not os.path.exists("/var/run/netns/tmrl_robot")
