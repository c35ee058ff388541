"""Fine-tune a VLA with context smoothing on demonstrations (`tmrl pretrain policy=vla`).

An interrupted run goes on when the same command is given again. Several GPUs of one machine:
vla.processes=4, or `torchrun --nproc_per_node=4 -m tmrl_ros.vla.pretrain policy=vla ...`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tmrl_ros.core.compute import prepare_torch
from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError, OperatorError
from tmrl_ros.core.load import load_config

WORDS = ("policy=vla", "policy:=vla")
ACTION_SPACE = "cartesian_relative"
SAY_EVERY_S = 5.0


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of `tmrl pretrain policy=vla`."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="tmrl pretrain policy=vla", description=__doc__)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument(
        "--demonstrations",
        type=Path,
        help="bags or LeRobot data set; default: sessions/demonstrations/<task>",
    )
    args = parser.parse_intermixed_args(words)
    try:
        config = load_config([word for word in args.overrides if word not in WORDS])
        if config.vla.processes > 1 and "WORLD_SIZE" not in os.environ:
            _become_several(config.vla.processes, words)
        prepare_torch(config.session.torch_threads)
        folder = args.demonstrations or Path("sessions/demonstrations") / config.task.name
        out = config.vla.out or config.task.bundle.with_name(f"{config.task.bundle.name}_vla")
        run(config, folder, out)
    except OperatorError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def run(config: Config, demonstrations: Path, out: Path) -> None:
    """Fine-tune on what lies below `demonstrations` and write a checkpoint to `out`.

    Raises:
        OperatorError: A file is missing, or it does not fit into memory.
    """
    from tmrl_ros.vla.checkpoint_files import Deployment
    from tmrl_ros.vla.finetune import FineTuning, join
    from tmrl_ros.vla.lerobot_classes import missing
    from tmrl_ros.vla.load import local_folder, read_config
    from tmrl_ros.vla.training_data import load_data

    if config.vla.model is None:
        raise ConfigurationError(
            "vla.model is empty: name the LeRobot checkpoint to begin with, for example "
            "vla.model=lerobot/smolvla_base."
        )
    if reason := missing():
        raise OperatorError(reason)
    base = local_folder(config.vla.model)
    process = join(config.vla.device)
    data = load_data(demonstrations, config, int(read_config(base).chunk_size))
    if process.first:
        print(f"{data.demonstrations} demonstrations, {len(data.state)} observations", flush=True)
    deployment = Deployment(
        name=f"{config.task.name} vla",
        action_space=ACTION_SPACE,
        control_rate_hz=config.robot.control_rate_hz,
    )
    training = FineTuning(base, data, config.vla, deployment, process)
    training.run(out, _Progress(config.vla.steps))
    if process.first:
        print(f"Wrote {out}; serve it with `tmrl vla-server {out}`.", flush=True)


class _Progress:
    """Prints how far a training is, every few seconds and at the end."""

    def __init__(self, steps: int) -> None:
        self._steps, self._begun = steps, time.monotonic()
        self._first: int | None = None
        self._said, self._loss = 0.0, 0.0

    def __call__(self, step: int, loss: float) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first, self._loss = step, loss
        self._loss += 0.05 * (loss - self._loss)
        if now - self._said < SAY_EVERY_S and step != self._steps:
            return
        self._said = now
        done = step - self._first + 1
        left = (self._steps - step) * (now - self._begun) / done
        print(f"step {step}/{self._steps}  loss {self._loss:.4f}  {left:.0f} s left", flush=True)


def _become_several(processes: int, words: Sequence[str]) -> None:
    """Replace this process by torchrun, which starts this module once per process."""
    sys.stdout.flush()
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    os.execv(sys.executable, [sys.executable, *torchrun, "-m", "tmrl_ros.vla.pretrain", *words])


if __name__ == "__main__":
    sys.exit(main())
