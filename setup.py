"""Package the stack for colcon (ament_python) and for pip.

colcon puts console scripts into lib/tmrl_ros, where `ros2 run` and `ros2 launch` look for them. pip
puts them into bin, so wheels also carry small wrappers in lib/tmrl_ros that call those.
"""

import sys
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "tmrl_ros"
NODES = (
    "camera",
    "console",
    "demonstrator",
    "episode_manager",
    "franka",
    "host_link",
    "learner",
    "perception",
    "policy_server",
    "recorder",
    "reward",
    "rviz_buttons",
    "rviz_scene",
    "safety_supervisor",
    "session",
    "sim_franka",
    "teleop",
)
SHARED = ("launch", "config", "urdf", "bundles")


def shared_files() -> list[tuple[str, list[str]]]:
    """Files for share/tmrl_ros, folder by folder, as data_files wants them."""
    found: dict[str, list[str]] = {}
    for top in SHARED:
        for path in sorted(Path(top).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found.setdefault(f"share/{PACKAGE}/{path.parent.as_posix()}", []).append(str(path))
    return list(found.items())


def extra(name: str) -> list[str]:
    """Optional requirements, whose versions stand in requirements.txt with all others."""
    lines = Path("requirements.txt").read_text().splitlines()
    marker = f"#[{name}] "
    return [line.removeprefix(marker) for line in lines if line.startswith(marker)]


def wrappers() -> list[tuple[str, list[str]]]:
    """Executables for lib/tmrl_ros of a wheel."""
    folder = Path("build/ros_executables")
    folder.mkdir(parents=True, exist_ok=True)
    for node in NODES:
        wrapper = folder / node
        wrapper.write_text(f'#!/bin/sh\nexec "$(dirname "$0")/../../bin/{node}" "$@"\n')
        wrapper.chmod(0o755)
    return [(f"lib/{PACKAGE}", [str(folder / node) for node in NODES])]


setup(
    name=PACKAGE,
    version="0.1.0",
    description="Fine-tune a pretrained robot policy on a Franka arm, over ROS 2.",
    license="Apache-2.0",
    maintainer="tmrl_ros maintainers",
    maintainer_email="maintainers@tmrl-ros.org",
    python_requires=">=3.11",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={f"{PACKAGE}.sim": ["assets/**/*"], f"{PACKAGE}.console": ["page/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        *shared_files(),
        *(wrappers() if "bdist_wheel" in sys.argv else []),
    ],
    zip_safe=False,
    install_requires=["setuptools"],
    extras_require={name: extra(name) for name in ("hardware", "benchmarks", "show")},
    entry_points={
        "console_scripts": [
            *(f"{node} = {PACKAGE}.nodes.{node}:main" for node in NODES),
            f"tmrl = {PACKAGE}.cli.main:main",
        ],
    },
)
