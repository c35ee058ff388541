"""`tmrl vla-server`: serve one model to the graph, or to any openpi client."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from tmrl_ros.core.arguments import count
from tmrl_ros.core.compute import prepare_torch
from tmrl_ros.core.errors import BundleError, OperatorError
from tmrl_ros.serving.access import read_token
from tmrl_ros.serving.protocol import Limits
from tmrl_ros.serving.server import Settings, VlaServer
from tmrl_ros.vla.interface import VlaModel

MEGABYTE = 2**20
PRECISIONS = ("auto", "float32", "bfloat16")
COMPILE_MODES = ("off", "default", "cuda_graphs")


def load_model(
    folder: Path,
    threads: int,
    device: str = "auto",
    precision: str = "auto",
    compile_mode: str = "off",
) -> VlaModel:
    """The model in a folder: a bundle of this project (`policy.json`), or a VLA.

    Args:
        folder: Of the model.
        threads: Of a bundle's own sampling.
        device: Of a VLA, as are the others.
        precision: One of `PRECISIONS`.
        compile_mode: One of `COMPILE_MODES`.

    Raises:
        BundleError: There is neither, or it cannot be loaded.
    """
    if not folder.is_dir():
        raise BundleError(f"There is no folder {folder}: name the one with the model.")
    if (folder / "policy.json").is_file():
        from tmrl_ros.vla.bundle_model import load_bundle_model

        return load_bundle_model(folder, threads)
    try:
        load = import_module("tmrl_ros.vla.load")
    except ImportError as error:
        raise BundleError(
            f"{folder} holds no policy.json, and VLAs cannot be loaded here ({error}): install "
            "what docs/vla.md names."
        ) from None
    model: VlaModel = load.load_model(folder, device, load.ModelOptions(precision, compile_mode))
    return model


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped; returns 2 for what a person can correct."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("websockets").setLevel(logging.WARNING)
    try:
        token = read_token(args.token_file) if args.token_file else ""
        limits = Limits(message_bytes=args.max_mb * MEGABYTE, samples=args.samples)
        prepare_torch(args.threads)
        server = VlaServer(
            lambda: load_model(
                args.folder, args.threads, args.device, args.precision, args.compile
            ),
            Settings(args.host, args.port, token, limits),
        )
        asyncio.run(_serve(server, args.folder))
    except OperatorError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


async def _serve(server: VlaServer, folder: Path) -> None:
    """Run until SIGTERM."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with suppress(asyncio.CancelledError):
        await server.run(
            lambda port: print(f"Serves {folder} on ws://{server.settings.host}:{port}", flush=True)
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tmrl vla-server", description=__doc__)
    parser.add_argument("folder", type=Path, help="of the model: a VLA, or a policy bundle")
    parser.add_argument("--host", default="127.0.0.1", help="interface; others need --token-file")
    parser.add_argument("--port", type=int, default=8000, help="0: any free one")
    parser.add_argument("--token-file", type=Path, help="file with the token that clients send")
    parser.add_argument("--threads", type=count, default=1, help="of the CPU")
    parser.add_argument("--device", default="auto", help="of a VLA: cpu, cuda, cuda:1, ...")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="of a VLA")
    parser.add_argument("--compile", choices=COMPILE_MODES, default="off", help="of a VLA's flow")
    parser.add_argument("--samples", type=count, default=64, help="most chunks of one request")
    parser.add_argument("--max-mb", type=count, default=16, help="most megabytes of one request")
    return parser


if __name__ == "__main__":
    sys.exit(main())
