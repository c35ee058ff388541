"""What the DDS environment promises, seen from real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.load import load_config

TALKER = """
import sys, time
import rclpy
from sensor_msgs.msg import Image
from rclpy.qos import qos_profile_sensor_data

rclpy.init()
node = rclpy.create_node("talker")
publisher = node.create_publisher(Image, "image", qos_profile_sensor_data)
print("ready", flush=True)
image = Image(width=424, height=240, step=1272, data=bytes(424 * 240 * 3))
while True:
    publisher.publish(image)
    time.sleep(0.05)
"""
LISTENER = """
import rclpy
from sensor_msgs.msg import Image
from rclpy.qos import qos_profile_sensor_data

rclpy.init()
node = rclpy.create_node("listener")
received = []
node.create_subscription(Image, "image", received.append, qos_profile_sensor_data)
while len(received) < 5:
    rclpy.spin_once(node, timeout_sec=0.1)
print(len(received[0].data), flush=True)
"""


@pytest.fixture
def environment(domain_id):
    config = load_config([f"session.domain_id={domain_id}"])
    return {**os.environ, **node_environment(config)}


@pytest.fixture
def talker(environment):
    process = subprocess.Popen(
        [sys.executable, "-c", TALKER], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def udp_addresses(pid):
    """Local addresses (hexadecimal) of the UDP sockets of a process."""
    links = [link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
    inodes = {str(link)[8:-1] for link in links if str(link).startswith("socket:[")}
    found = set()
    for table in ("udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[9] in inodes:
                found.add(words[1].split(":")[0])
    return found


def test_nothing_listens_beyond_the_loopback_interface(talker):
    assert udp_addresses(talker.pid) == {"0100007F"}


def test_images_arrive_on_a_best_effort_topic(talker, environment):
    done = subprocess.run(
        [sys.executable, "-c", LISTENER], env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(424 * 240 * 3)


def test_several_machines_use_another_profile():
    alone = node_environment(load_config())
    several = node_environment(load_config(["session.localhost_only=false"]))
    assert several["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"
    profiles = {env["FASTRTPS_DEFAULT_PROFILES_FILE"] for env in (alone, several)}
    assert len(profiles) == 2
    assert all(Path(profile).is_file() for profile in profiles)


def test_the_probe_finds_a_graph_in_the_domain(talker, environment):
    probe = [sys.executable, "-m", "tmrl_ros.nodes.tool", "probe", "--seconds", "10", "talker"]
    found = subprocess.run(probe, env=environment, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (3, "/talker\n"), found.stderr


def test_the_probe_sees_nobody_in_an_empty_domain(environment):
    probe = [sys.executable, "-m", "tmrl_ros.nodes.tool", "probe", "safety_supervisor"]
    found = subprocess.run(probe, env=environment, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, ""), found.stderr
