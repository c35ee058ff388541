"""The node `camera` with a software device in the place of the hardware, fed by the simulated cell.

`python software_camera_node.py <serial> --ros-args ...`; a line on standard input brings about
`unplug`, `plug` or `lose` (seven frames).
"""

from __future__ import annotations

import sys
import threading
import time

from software_realsense import Bus, SoftwareCamera

from tmrl_ros.nodes.camera import CameraNode
from tmrl_ros.nodes.common import run_node
from tmrl_ros.sim import SimulatedCell


def feed(camera, pictures, words):
    """Feed at half the rate, which leaves this machine time for the rest of the graph."""
    began_s = time.monotonic()
    while True:
        time.sleep(2.0 / camera.rate_hz)
        lose = 7 if words and words.pop(0) else 0
        color, depth_mm = pictures
        camera.feed(color, depth_mm, 60e3 + (time.monotonic() - began_s) * 1e3, lose=lose)


def obey(camera, words):
    for line in sys.stdin:
        match line.strip():
            case "lose":
                words.append(True)
            case "plug":
                camera.plugged = True
            case "unplug":
                camera.plugged = False


def main():
    name, serial = sys.argv[1:3]
    with SimulatedCell("pick_named") as cell:
        frame, model = cell.render(name), cell.camera(name)
    k = model.K
    size = (model.width, model.height)
    camera = SoftwareCamera(serial, size=size, focal_px=k[0, 0], centre_px=[k[0, 2], k[1, 2]])
    words = []
    pictures = frame.color, frame.depth_mm
    threading.Thread(target=feed, args=(camera, pictures, words), daemon=True).start()
    threading.Thread(target=obey, args=(camera, words), daemon=True).start()
    return run_node(lambda: CameraNode(devices=Bus(camera)), sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
