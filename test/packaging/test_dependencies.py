"""What is imported is declared: in package.xml for ROS machines, in requirements.txt for others."""

import ast
import re
import sys
import xml.etree.ElementTree as ET

import pytest

OURS = {"tmrl_ros", "tmrl_msgs", "tmrl_msgs_tf2"}
# Imported name -> rosdep key. A ROS package is its own key.
APT = {
    "aiohttp": "python3-aiohttp",
    "h5py": "python3-h5py",
    "jinja2": "python3-jinja2",
    "matplotlib": "python3-matplotlib",
    "msgpack": "python3-msgpack",
    "numpy": "python3-numpy",
    "PIL": "python3-pil",
    "psutil": "python3-psutil",
    "rich": "python3-rich",
    "yaml": "python3-yaml",
    "hypothesis": "python3-hypothesis",
    "pytest": "python3-pytest",
    "scipy": "python3-scipy",
}
# Imported name -> distribution, where the names differ.
PYPI = {
    "backports": "backports.zstd",
    "cv2": "opencv-python-headless",
    "jinja2": "Jinja2",
    "PIL": "pillow",
    "yaml": "PyYAML",
}
# Without an apt package that is new enough: docs/install.md has pip install them.
PIP_ONLY = {
    *("av", "cv2", "fpsample", "mcap", "mujoco", "onnx", "onnxruntime", "pyarrow", "pydantic"),
    *("rosbags", "safetensors", "torch", "websockets"),
}
ALONG = {"zstandard", "backports"}  # mcap and rosbags bring these along
TEST_ONLY = {"mcap_ros2"}  # used by tests, where ROS machines need no more
NO_WHEEL = {"launch", "launch_ros"}  # on ROS machines only
ROBOT = {"controller_manager_msgs", "franka_msgs"}  # come with a real robot's own packages
VLA = {"huggingface_hub", "lerobot", "tokenizers", "transformers"}  # requirements-vla.txt
OPTIONAL = {"open3d", "openpi_client"} | ROBOT | VLA  # asked for by name, never needed
# Needed by the launch files and at run time, imported by nobody.
NOT_IMPORTED = {
    "geometry_msgs",
    "launch",
    "rmw_fastrtps_cpp",
    "robot_state_publisher",
    "ros2launch",
    "rviz2",
    "tf2_ros",
}


def imported(folder):
    """Top-level names imported anywhere in the Python files below a folder."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - OPTIONAL


@pytest.fixture(scope="module")
def run_time(root):
    return imported(root / "tmrl_ros") | imported(root / "launch")


@pytest.fixture(scope="module")
def in_tests(root):
    own = {path.stem for path in (root / "test").rglob("*.py")}
    return imported(root / "test") - own


@pytest.fixture(scope="module")
def manifest(root):
    tree = ET.parse(root / "package.xml")
    return {
        kind: {item.text for item in tree.iter(kind)} for kind in ("exec_depend", "test_depend")
    }


@pytest.fixture(scope="module")
def pinned(root):
    text = (root / "requirements.txt").read_text()
    return {name.lower() for name in re.findall(r"^([\w.-]+)==", text, flags=re.MULTILINE)}


def keys(names):
    return {APT.get(name, name) for name in names - PIP_ONLY - ALONG - TEST_ONLY - {"tmrl_ros"}}


def test_a_ros_machine_installs_what_is_imported(run_time, in_tests, manifest):
    assert keys(run_time) <= manifest["exec_depend"]
    assert keys(in_tests) <= manifest["exec_depend"] | manifest["test_depend"]


def test_a_ros_machine_installs_nothing_for_nobody(run_time, in_tests, manifest):
    assert manifest["exec_depend"] <= keys(run_time) | NOT_IMPORTED
    assert manifest["test_depend"] <= keys(in_tests)


def test_pip_installs_what_is_imported(run_time, in_tests, pinned):
    def is_pinned(name):
        return {PYPI.get(name, name).lower(), f"ros-{name.replace('_', '-')}"} & pinned

    names = (run_time | in_tests) - OURS - NO_WHEEL - {"tf2_msgs"}
    names = {"mcap-ros2-support" if name == "mcap_ros2" else name for name in names}
    assert [name for name in sorted(names) if not is_pinned(name)] == []


def test_the_page_about_installing_names_what_only_pip_has(root, run_time):
    page = (root / "docs" / "install.md").read_text()
    (line,) = re.findall(r"^python3 -m pip install .*$", page, flags=re.MULTILINE)
    named = {re.split("[<=]", word.strip("'"))[0] for word in line.split()}
    assert run_time >= PIP_ONLY
    assert named >= {PYPI.get(name, name) for name in PIP_ONLY}


def test_every_library_of_ours_has_a_reason_on_the_page_about_dependencies(root, run_time):
    page = (root / "docs" / "dependencies.md").read_text().lower()
    ours = run_time - OURS - NO_WHEEL
    names = {PYPI.get(name, name).lower() for name in ours}
    missing = {n for n in names if n not in page and f"ros-{n.replace('_', '-')}" not in page}
    assert missing == set()


def test_models_of_vision_and_language_are_pinned_in_a_file_of_their_own(root, pinned):
    text = (root / "requirements-vla.txt").read_text()
    own = set(re.findall(r"^([\w.-]+)==", text, flags=re.MULTILINE))
    assert {name.replace("_", "-") for name in VLA} <= own
    assert not own & pinned, "it would change what the rest runs with"
    page = (root / "docs" / "dependencies.md").read_text()
    assert all(name.replace("_", "-") in page for name in VLA)
