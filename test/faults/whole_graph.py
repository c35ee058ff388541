"""Starts the real graph through the command line, breaks it, and reads what is left behind."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import rclpy
import small_bundle
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

from tmrl_msgs.msg import RobotTarget, SafetyState
from tmrl_ros.core import topics
from tmrl_ros.data.assembler import assemble
from tmrl_ros.data.bag_reader import bag_folders, read_episode, read_session
from tmrl_ros.data.bag_stream import BagStream, is_topic
from tmrl_ros.data.transitions import AssembledEpisode
from tmrl_ros.session.records import load_records, of_phase
from tmrl_ros.session.status import read_json

PATIENCE_S = 150.0  # keeps a broken test from hanging; nothing is measured by it
MODULE = "tmrl_ros.nodes."
DECISIONS = 30  # so that an episode lasts long enough to be hit in its middle


def make_bundle(folder: Path, *, rate_hz: float = 20.0) -> None:
    """An untrained policy whose chunks are a few millimetres long."""
    mean, std = [[0.0, 0.0, 0.0, 0.5]] * 8, [[0.003, 0.003, 0.003, 0.1]] * 8
    small_bundle.make_bundle(folder, rate_hz=rate_hz, mean=mean, std=std)


def tmrl(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    argv = [sys.executable, "-m", "tmrl_ros.cli.main", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


class Run:
    """One `tmrl finetune` and its session."""

    def __init__(
        self,
        session: Path,
        words: list[str],
        environment: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.session = session
        self.output_file = session.parent / f"output-{time.monotonic_ns()}.txt"
        argv = [*prefix, sys.executable, "-m", "tmrl_ros.cli.main", "finetune", "--plain", *words]
        with self.output_file.open("wb") as output:
            self.process = subprocess.Popen(
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.seen: set[psutil.Process] = set()

    # what a person sees

    @property
    def output(self) -> str:
        return self.output_file.read_text()

    @property
    def status(self) -> dict:
        return read_json(self.session / "status.json")

    def log(self, node: str) -> str:
        file = self.session / "logs" / f"{node}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    # waiting

    def until(self, condition, what):
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert self.process.poll() is None, f"ended before {what}: {self.output}"
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self.output}"
            self.look_around()
            time.sleep(0.03)
        return found

    def until_running(self, after=()):
        """Wait until a training episode that is not one of `after` has decided a few times."""

        def running():
            status = self.status
            name = f"train_{status.get('episode', 0) - 1:06d}"
            is_early = 2 <= len(status.get("t_context", ())) <= DECISIONS // 2
            return name if status.get("phase") == "train" and is_early and name not in after else ""

        return self.until(running, f"an episode besides {list(after)} that runs")

    def wait(self) -> int:
        """Exit code, once it has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end: {self.output}"
            self.look_around()
            time.sleep(0.1)
        return self.process.returncode

    # processes

    def look_around(self) -> None:
        """Remember the processes that this run has started."""
        with contextlib.suppress(psutil.Error):
            self.seen.update(psutil.Process(self.process.pid).children(recursive=True))

    def node(self, name: str) -> psutil.Process | None:
        """The process of a node, if it runs now."""
        self.look_around()
        for process in self.seen:
            with contextlib.suppress(psutil.Error):
                if MODULE + name in process.cmdline():
                    return process
        return None

    def kill(self, name: str) -> None:
        """SIGKILL a node and wait for the process that takes its place."""
        old = self.until(lambda: self.node(name), name)
        old.kill()

        def replaced():
            new = self.node(name)
            return new is not None and new.pid != old.pid

        self.until(replaced, f"another {name}")

    def kill_everything(self) -> None:
        """What a power cut does: nobody has time to clean up."""
        self.look_around()
        if self.process.poll() is None:
            self.process.kill()
        for process in self.seen:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait()
        psutil.wait_procs(self.seen, timeout=PATIENCE_S)

    @property
    def orphans(self) -> list[str]:
        """Command lines of what this run has started and what is still there."""
        found = []
        for process in self.seen:
            with contextlib.suppress(psutil.Error):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
        return found

    # faults

    def set_fault(self, **faults) -> None:
        """Set `fault.*` of the simulated robot."""
        rclpy.init()
        node = rclpy.create_node("faults")
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            client = node.create_client(SetParameters, "sim_franka/set_parameters")
            assert client.wait_for_service(PATIENCE_S), "sim_franka has no parameters"
            request = SetParameters.Request(
                parameters=[
                    Parameter(f"fault.{k}", value=v).to_parameter_msg() for k, v in faults.items()
                ]
            )
            future = client.call_async(request)
            executor.spin_until_future_complete(future, PATIENCE_S)
            assert all(result.successful for result in future.result().results)
        finally:
            executor.shutdown()
            node.destroy_node()
            rclpy.try_shutdown()

    def set_free_mb(self, value: float) -> None:
        """Let a recorder that starts from now on find the disk full, or not."""
        file = self.session / "config.yaml"
        lines = file.read_text().splitlines()
        lines = [f"  min_free_mb: {value}" if "min_free_mb:" in line else line for line in lines]
        file.write_text("\n".join(lines) + "\n")

    # what is left behind

    @property
    def records(self):
        return load_records(self.session)

    def ended(self, phase="train"):
        """Records of a phase's episodes that count."""
        return of_phase(self.records, phase)

    @property
    def aborted(self) -> dict[str, list[str]]:
        """Reasons of the aborted attempts of every repeated episode."""
        found: dict[str, list[str]] = {}
        for record in self.records:
            if record.aborted:
                found.setdefault(record.episode_id, []).append(record.reason)
        return found

    @property
    def report(self) -> dict:
        return json.loads((self.session / "report.json").read_text())

    @property
    def bags(self):
        return {
            folder.name: read_episode(folder, robot=True) for folder in bag_folders(self.session)
        }

    def every_bag(self) -> list[Path]:
        """All bags, those of aborted attempts too, but none that a killed recorder left empty."""
        found = {file.parent for file in (self.session / "episodes").glob("*/*.mcap")}
        return sorted(folder for folder in found if ".empty-" not in folder.name)

    def learnable(self) -> list[AssembledEpisode]:
        """What the bags hold of the training episodes whose end is in them."""
        training = [item for item in read_session(self.session) if item.about["phase"] == "train"]
        return [assemble(item) for item in training if item.ended]

    def rows(self) -> int:
        """Transitions in the bags."""
        return sum(len(episode.transitions) for episode in self.learnable())


def moves_while_latched(bag: Path) -> int:
    """How many targets to follow (rather than to hold) went out while the stop was latched."""
    latched, moves = False, 0
    for message in BagStream(bag, [topics.SAFETY_STATE, topics.ROBOT_TARGET]):
        content = message.decode()
        if is_topic(message.topic, topics.SAFETY_STATE):
            latched = content.state == SafetyState.STATE_LATCHED
        elif latched and content.kind == RobotTarget.KIND_TRACK:
            moves += 1
    return moves


def moves_after_last_outcome(bag: Path) -> int:
    """How many targets to follow belong to no chunk that has been accounted for."""
    record = read_episode(bag, robot=True)
    moves = sum(not target.hold for target in record.targets)
    return moves - sum(outcome.steps_sent for outcome in record.outcomes)


def is_readable(bag: Path) -> bool:
    """Whether a bag has its index and its end, as every tool wants it."""
    return (bag / "metadata.yaml").is_file() and read_episode(bag).complete
