"""`tmrl calibrate`: print a board, list cameras, and find where one hangs."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from tmrl_ros.calibration.board import Board
from tmrl_ros.calibration.calibrate import calibrate as solve
from tmrl_ros.calibration.collect import Collector, collect_from_bag
from tmrl_ros.calibration.overlay import overlay
from tmrl_ros.calibration.views import LISTED, Picture, ViewsConfig, read_views, write_views
from tmrl_ros.cameras.library import librealsense
from tmrl_ros.cli.services import graph_config
from tmrl_ros.cli.session_folder import CONFIG_FILE
from tmrl_ros.core.calibration_file import BoardConfig, Calibration, write_calibration
from tmrl_ros.core.camera_config import CameraConfig
from tmrl_ros.core.config import Config
from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.load import write_config

FOLDER = Path("calibration")
BOARD_FORM = re.compile(r"^(\d+)x(\d+)x(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)$")
PIXELS_PER_SQUARE, MARGIN_PX = 200, 100
INCH_M = 0.0254
EXAMPLE = "7x5x35x26 has 7 by 5 squares of 35 mm with markers of 26 mm"


def calibrate(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        OperatorError: Views that say too little, a camera that is not configured, ...
    """
    parser = argparse.ArgumentParser(prog="tmrl calibrate", description=__doc__)
    parser.add_argument("what", help="name of a camera; `board` to print one; `list` the cameras")
    parser.add_argument("--board", default="7x5x35x26", help=EXAMPLE)
    parser.add_argument("--dictionary", default=BoardConfig().dictionary, help="of its markers")
    parser.add_argument("--views", type=int, default=20, help="how many are taken")
    parser.add_argument("--from", dest="source", type=Path, help="a folder of views, or a bag")
    parser.add_argument("--out", type=Path, help="file that is written")
    parser.add_argument("--session", help="whose graph; the newest that runs by default")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value")
    args = parser.parse_intermixed_args(list(words))
    board = board_from(args.board, args.dictionary)
    if args.what == "board":
        return _print_board(board, args.out or FOLDER / "board.png")
    if args.what == "list":
        return _list()
    config = graph_config(args.overrides, args.session)
    camera = _camera(config, args.what)
    out = args.out or FOLDER / f"{camera.name}.yaml"
    views = _views(args, config, camera, board, out)
    about, pictures = read_views(views)
    if about.camera != camera.name:
        raise OperatorError(f"{views} has views of camera {about.camera!r}, not {camera.name!r}.")
    calibration, found = solve(about, pictures)
    write_calibration(calibration, out)
    used = next(p for p in pictures if p.name == found.used[int(np.argmin(found.view_px))])
    drawn = _draw(calibration, used, config, out)
    _report(calibration, out, drawn, about)
    return 0


def board_from(text: str, dictionary: str) -> BoardConfig:
    """The board that `--board` describes.

    Raises:
        OperatorError: It describes none.
    """
    match = BOARD_FORM.match(text)
    if match is None:
        raise OperatorError(f"--board {text} is not understood: {EXAMPLE}.")
    columns, rows, square_mm, marker_mm = match.groups()
    try:
        config = BoardConfig(
            columns=int(columns),
            rows=int(rows),
            square_m=float(square_mm) / 1e3,
            marker_m=float(marker_mm) / 1e3,
            dictionary=dictionary,
        )
    except ValueError as error:
        raise OperatorError(f"--board {text} cannot be: {' '.join(str(error).split())}.") from None
    Board(config)
    return config


def _print_board(config: BoardConfig, out: Path) -> int:
    """Write a picture that prints in the right size, at 100 percent."""
    dots_per_inch = PIXELS_PER_SQUARE / config.square_m * INCH_M
    picture = Board(config).picture(PIXELS_PER_SQUARE, MARGIN_PX)
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(out, dpi=(dots_per_inch, dots_per_inch))
    width, height = config.columns * config.square_m, config.rows * config.square_m
    print(
        f"{out}: {width * 1e3:.0f} x {height * 1e3:.0f} mm. Print it at 100 percent, glue it onto "
        "something flat and stiff, and measure a square: its real size goes into --board."
    )
    return 0


def _list() -> int:
    """What librealsense finds, one line each."""
    rs = librealsense()
    devices = list(rs.context().query_devices())
    for device in devices:
        keys = ("name", "serial_number", "usb_type_descriptor", "firmware_version")
        words = [
            device.get_info(getattr(rs.camera_info, key))
            for key in keys
            if device.supports(getattr(rs.camera_info, key))
        ]
        print("  ".join(words))
    if not devices:
        print("No RealSense is plugged in, or another program has it.")
    return 0 if devices else 1


def _camera(config: Config, name: str) -> CameraConfig:
    found = {camera.name: camera for camera in config.cameras.cameras}
    if name not in found:
        raise OperatorError(
            f"There is no camera {name!r}: the configuration has {', '.join(found)}; `board` and "
            "`list` are the other words."
        )
    return found[name]


def _views(
    args: argparse.Namespace,
    config: Config,
    camera: CameraConfig,
    board: BoardConfig,
    out: Path,
) -> Path:
    """Folder of views: the one that is named, made from a bag, or taken now."""
    if args.source is not None and (args.source / LISTED).exists():
        return Path(args.source)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder = out.parent / f"{camera.name}_views" / stamp
    if args.source is not None:
        collector = collect_from_bag(args.source, camera.name, Board(board))
        _write(collector, folder, camera, board, args.source)
        return folder
    print(
        "The hardware stop button comes first. Guide the arm from pose to pose and hold it still "
        "for a second at each: tilt the tool to all sides. Ctrl-C ends it earlier."
    )
    _take(config, camera, board, folder, args.views)
    return folder


def _write(
    collector: Collector, folder: Path, camera: CameraConfig, board: BoardConfig, bag: Path
) -> None:
    if not collector.pictures or collector.lens is None:
        raise OperatorError(
            f"{bag} has no picture of camera {camera.name!r} in which the arm stands still and "
            "the board is seen."
        )
    write_views(
        folder,
        collector.pictures,
        camera=camera.name,
        serial=camera.serial,
        mount=camera.mount,
        board=board,
        lens=collector.lens,
    )


def _take(
    config: Config, camera: CameraConfig, board: BoardConfig, folder: Path, views: int
) -> None:
    """Have a node of its own take views from the running graph."""
    with TemporaryDirectory(prefix="tmrl-calibrate-") as changed:
        file = Path(changed) / CONFIG_FILE
        write_config(config, file)
        words = [sys.executable, "-m", "tmrl_ros.nodes.calibrate", str(file), camera.name]
        words += [str(folder), "--views", str(views), "--board", board.model_dump_json()]
        process = subprocess.Popen(words, env={**os.environ, **node_environment(config)})
        while True:
            try:
                code = process.wait()
                break
            except KeyboardInterrupt:
                continue  # it hears Ctrl-C too, and writes what it has
    if code or not (folder / LISTED).exists():
        raise OperatorError(
            f"No views of camera {camera.name!r} were taken: is the graph running (`tmrl up`), and "
            "the board in view?"
        )


def _draw(calibration: Calibration, picture: Picture, config: Config, out: Path) -> Path:
    cell = config.cameras
    table = np.array(cell.workspace_min_m), np.array(cell.workspace_max_m)
    drawn = overlay(picture.image, picture.base_from_ee, calibration, table)
    path = out.with_name(f"{out.stem}_overlay.png")
    Image.fromarray(drawn).save(path)
    return path


def _report(calibration: Calibration, out: Path, drawn: Path, about: ViewsConfig) -> None:
    off = calibration.residuals
    print(f"{out}: {calibration.views} of {len(about.views)} views are used.")
    if calibration.rejected:
        print(f"Left out, because they contradict the others: {', '.join(calibration.rejected)}.")
    print(
        f"Corners are {off.reprojection_px:.2f} pixels off ({off.worst_view_px:.2f} in the worst "
        f"view); the camera's place is known to {off.spread_mm:.2f} mm and {off.spread_deg:.2f} "
        "degrees (standard error)."
    )
    print(f"Look at {drawn}: crosses must lie in circles, the orange frame on the table.")
    print(f"Then name it in the cameras' file: `calibration: {out}`.")
