"""Images cannot be built here; what can be looked at without Docker is looked at."""

import ast
import fnmatch
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version

import pytest
import yaml

from tmrl_ros.core.graph import nodes_for
from tmrl_ros.core.load import load_config

TWO = "session.localhost_only=false"


@pytest.fixture(scope="module")
def dockerfile(root):
    return (root / "docker" / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def services(root):
    return yaml.safe_load((root / "docker" / "compose.yaml").read_text())["services"]


def picked(root, image):
    words = [root / "docker" / "pick_requirements.py", root / "requirements.txt", image]
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=True
    ).stdout.split()


def copied(dockerfile):
    lines = re.findall(r"^COPY (.*)$", dockerfile, re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def test_everything_that_is_copied_exists_and_travels_to_the_builder(root, dockerfile):
    kept = [
        line[1:]
        for line in (root / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for source in copied(dockerfile):
        assert (root / source).exists(), source
        assert any(fnmatch.fnmatch(source, pattern) for pattern in kept), f"{source} is ignored"
    assert set(kept) <= set(copied(dockerfile)), "ignored files are let through for nothing"


def test_what_the_package_installs_is_in_the_image(root, dockerfile):
    setup = (root / "setup.py").read_text()
    shared = re.search(r"^SHARED = \((.*)\)$", setup, re.MULTILINE).group(1)
    for folder in re.findall(r'"(\w+)"', shared):
        assert folder in copied(dockerfile)


def test_versions_are_those_of_the_checkout_and_ros_comes_from_the_image(root):
    robot, gpu = picked(root, "robot"), picked(root, "gpu")
    lines = (root / "requirements.txt").read_text().splitlines()
    assert all(line in lines for line in robot + gpu)
    assert not any(line.startswith(("ros-", "pytest", "ruff")) for line in robot + gpu)
    assert {line.split("==")[0] for line in gpu} == {"torch", "onnx"}
    assert {"mcap", "mujoco", "pydantic"} <= {line.split("==")[0] for line in robot}


def test_base_image_and_images_are_pinned(dockerfile, services):
    assert "ARG ROS_IMAGE=ros:jazzy-" in dockerfile
    assert all(not service["image"].endswith("latest") for service in services.values())
    assert all(":" in service["image"] for service in services.values())


def test_nothing_runs_as_root(dockerfile, services):
    stages = re.split(r"^FROM ", dockerfile, flags=re.MULTILINE)[1:]
    ends = {stage.split(" AS ")[1].split()[0]: stage.rstrip().splitlines()[-1] for stage in stages}
    for service in services.values():
        assert ends[service["build"]["target"]] == "USER tmrl"
        assert "privileged" not in service and service.get("user") != "root"


def test_each_profile_runs_its_part_of_one_graph(services):
    for host, service in services.items():
        assert service["profiles"] == [host]
        command = service["command"][-1]
        assert f"session.host={host}" in command and TWO in command
        load_config([word for word in command.split() if word.startswith("session.")])
        assert (service["network_mode"], service["ipc"]) == ("host", "host")
    assert services["robot"]["ulimits"]["rtprio"] == 99


def closure(names):
    """Installed packages that these need, and they themselves."""
    todo, found = [plain(name) for name in names], set()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            needs = [need for need in requires(name) or [] if "extra ==" not in need]
            todo += [plain(re.match(r"[\w.-]+", need).group()) for need in needs if installed(need)]
    return found


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(need):
    try:
        return bool(version(re.match(r"[\w.-]+", need).group()))
    except PackageNotFoundError:
        return False


def imported(root):
    """Top-level modules that the package imports."""
    found = set()
    for file in (root / "tmrl_ros").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names)


VLA = {"huggingface_hub", "lerobot", "tokenizers", "transformers"}  # `make vla`, on the GPU PC


def test_the_robot_s_image_has_every_library_but_those_of_the_gpu_pc(root):
    there = closure([line.split("==")[0] for line in picked(root, "robot")])
    brings = packages_distributions()
    libraries = {
        name: {plain(package) for package in brings[name]}
        for name in imported(root) - {"tmrl_ros"}
        if name in brings and not any(item.startswith("ros-") for item in brings[name])
    }
    assert {"numpy", "jinja2", "mcap", "torch"} <= set(libraries)
    missing = {name for name, packages in libraries.items() if not packages & there}
    assert missing <= {"torch", "onnx", *VLA}


def test_the_robot_pc_s_part_needs_no_torch(root, tmp_path):
    nodes = nodes_for(load_config([TWO, "session.host=robot"]), tmp_path / "config.yaml", "up")
    modules = [node.module for node in nodes] + ["tmrl_ros.nodes.session", "tmrl_ros.cli.run"]
    code = "import sys; sys.modules['torch'] = sys.modules['onnx'] = None\n"
    code += "\n".join(f"import {module}" for module in modules)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
