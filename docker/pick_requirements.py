"""Print the lines of requirements.txt that an image installs: `robot` or `gpu`.

ROS comes from the image itself, and checks and build tools are for the checkout.
"""

import sys
from pathlib import Path

GPU_ALONE = ("torch", "onnx")
ALSO = ("Jinja2",)  # which torch brings elsewhere, and reports need without it
NOT_HERE = ("Checks", "Builds", "ROS 2 Jazzy", "What the above need", "Optional")


def picked(text: str, image: str) -> list[str]:
    """Pinned requirements of one image, in the file's order."""
    section, found = "", []
    for line in text.splitlines():
        if line.startswith("# "):
            section = line.removeprefix("# ")
        name = line.partition("==")[0]
        if "==" not in line or line.startswith("#"):
            continue
        if section.startswith(NOT_HERE) and name not in ALSO:
            continue
        if (name in GPU_ALONE) == (image == "gpu"):
            found.append(line)
    return found


if __name__ == "__main__":
    print("\n".join(picked(Path(sys.argv[1]).read_text(), sys.argv[2])))
