"""Rehearse faults on a running graph with the simulated arm, and write down what came of them.

Started by `tmrl faults`, beside the graph that it breaks. It asks for episodes, breaks one thing
while the policy moves the arm, watches what goes out to the robot, undoes it, presses reset and
waits until the policy moves the arm again.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import String
from std_srvs.srv import Trigger

from tmrl_msgs.action import RunEpisodes
from tmrl_msgs.msg import ActionChunk, ChunkOutcome, EpisodeEvent, RobotTarget, SafetyState
from tmrl_ros.core import topics
from tmrl_ros.core.types import Phase
from tmrl_ros.nodes.common import EVENTS, LATCHED, RELIABLE
from tmrl_ros.nodes.fault_injection import Injector
from tmrl_ros.rehearsal.catalogue import BY_NAME, Expected, Fault
from tmrl_ros.rehearsal.verdict import Result, Seen, judge, write_json

STILL_S = 1.5
"""Without a target for so long, the arm counts as standing."""
WATCH_S = 12.0
DISK_S = 60.0
"""The episode that runs goes on to its end; only then does none start any more."""
WORDS_S = 6.0
GOES_ON_S = 2.5
RECOVER_S = 150.0
START_S = 240.0
EPISODES, GOALS = 100, 1000
"""Episodes of a goal, and goals until their numbers begin again."""
MOST_CALLBACKS = 40
"""No node has more; numbers that a node lacks are left out."""


class Witness:
    """Listens to everything that tells whether the arm moves and why it does not."""

    def __init__(self) -> None:
        self.node = rclpy.create_node("rehearsal")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.safety = SafetyState(state=SafetyState.STATE_LATCHED)
        self.episode = EpisodeEvent()
        self.waits_for = ""
        self.moved_s = self.held_s = self.latched_s = 0.0
        self.moves = self.moves_while_latched = self.done = 0
        self.ended: list[str] = []
        self.chunks: list[ActionChunk] = []
        listen = self.node.create_subscription
        listen(RobotTarget, topics.ROBOT_TARGET, self._on_target, RELIABLE)
        listen(SafetyState, topics.SAFETY_STATE, self._on_safety, LATCHED)
        listen(EpisodeEvent, topics.EPISODE, self._on_episode, EVENTS)
        listen(ChunkOutcome, topics.CHUNK_OUTCOME, self._on_outcome, RELIABLE)
        listen(ActionChunk, topics.ACTION_CHUNK, self._on_chunk, RELIABLE)
        listen(String, topics.MANAGER_STATUS, self._on_status, LATCHED)
        self._reset = self.node.create_client(Trigger, topics.RESET)
        self._goals = ActionClient(self.node, RunEpisodes, topics.RUN_EPISODES)
        self._goal: Any = None
        self._index = 0

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Spin until a condition holds; False when it did not in the time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.executor.spin_once(timeout_sec=0.02)
        return True

    def spin(self, seconds: float) -> None:
        """Spin for a while."""
        self.wait(lambda: False, seconds)

    def until_moving(self, seconds: float) -> bool:
        """Reset the stop, ask for episodes, and wait until the policy has moved the arm."""
        self.done, deadline = 0, time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.done >= 2 and self._runs_early:
                return True
            if self.safety.state == SafetyState.STATE_LATCHED and self._reset.service_is_ready():
                future = self._reset.call_async(Trigger.Request())
                self.wait(future.done, 1.0)
                self.wait(lambda: self.safety.state != SafetyState.STATE_LATCHED, 0.5)
            self._ask_for_episodes()
            self.spin(0.05)
        return False

    @property
    def _runs_early(self) -> bool:
        """The episode will go on for a while."""
        return self.episode.state == EpisodeEvent.STATE_RUNNING and self.done <= 12

    def _ask_for_episodes(self) -> None:
        if self._goal is not None and not self._goal.done():
            return
        if not self._goals.server_is_ready():
            return
        first = EPISODES * (self._index % GOALS)  # a number has room for 100,000 episodes
        goal = RunEpisodes.Goal(
            phase=int(Phase.OTHER), episodes=EPISODES, start_index=first, learn=True
        )
        sent = self._goals.send_goal_async(goal)
        if self.wait(sent.done, 3.0) and sent.result().accepted:
            self._goal = sent.result().get_result_async()
            self._index += 1

    def forget_goal(self) -> None:
        """Whoever ran our episodes is gone."""
        self._goal = None

    def _on_target(self, msg: RobotTarget) -> None:
        if msg.kind == RobotTarget.KIND_HOLD:
            self.held_s = time.monotonic()
            return
        self.moved_s = time.monotonic()
        self.moves += 1
        if self.safety.state == SafetyState.STATE_LATCHED and self.held_s > self.latched_s:
            self.moves_while_latched += 1

    def _on_safety(self, msg: SafetyState) -> None:
        if msg.state == SafetyState.STATE_LATCHED and (
            self.safety.state != msg.state or self.safety.latches != msg.latches
        ):
            self.latched_s = time.monotonic()
        self.safety = msg

    def _on_episode(self, msg: EpisodeEvent) -> None:
        if msg.state == EpisodeEvent.STATE_RUNNING and self.episode.state != msg.state:
            self.done = 0
        if msg.state == EpisodeEvent.STATE_IDLE and msg.reason == "started":
            self.forget_goal()
        if msg.state == EpisodeEvent.STATE_ENDED and msg.reason:
            self.ended.append(msg.reason)
        self.episode = msg

    def _on_outcome(self, msg: ChunkOutcome) -> None:
        policy = msg.source == ActionChunk.SOURCE_POLICY
        self.done += policy and msg.result == ChunkOutcome.RESULT_EXECUTED

    def _on_chunk(self, msg: ActionChunk) -> None:
        if msg.execute_steps and msg.source == ActionChunk.SOURCE_POLICY:
            self.chunks[:] = [*self.chunks[-5:], msg]

    def _on_status(self, msg: String) -> None:
        self.waits_for = msg.data


def rehearse(
    witness: Witness, injector: Injector, fault: Fault, number: int, launcher: Path
) -> Result:
    """One fault from beginning to end; the policy moves the arm when it begins.

    Args:
        witness: Who watches.
        injector: Who breaks and mends.
        fault: What.
        number: Which callback, for `raise`.
        launcher: File with what the launcher of the graph says.
    """
    injector.seen = witness.chunks
    witness.ended.clear()
    witness.moves_while_latched = 0
    latches, begin = witness.safety.latches, time.monotonic()
    heard = _length(launcher)
    detail = injector.inject(fault, number)
    moved_before = witness.moves

    def latched() -> bool:
        injector.keep_on()
        new = witness.safety.latches != latches
        return new and witness.safety.state == SafetyState.STATE_LATCHED

    def stands() -> bool:
        return time.monotonic() - max(witness.moved_s, begin) > STILL_S

    goes_on = fault.expected is Expected.GOES_ON
    patience = GOES_ON_S if goes_on or fault.expected is Expected.ANYTHING else WATCH_S
    if fault.kind == "disk":
        patience = DISK_S
    must_latch = fault.expected is Expected.LATCHES
    witness.wait(lambda: latched() or (not must_latch and not goes_on and stands()), patience)
    code = witness.safety.code if latched() else ""
    hold_s = None
    if code:
        held = [t for t in (witness.held_s, witness.latched_s) if t >= begin]
        hold_s = min(held) - begin if held else 0.0
    elif stands() or witness.moves == moved_before:
        hold_s = max(0.0, witness.moved_s - begin)
    said = _words(witness, code, wanted=hold_s is not None) or _news(launcher, heard)
    if hold_s is not None and not code and latched():
        code = witness.safety.code  # it stood already when the stop noticed
        said = str(witness.safety.message)
    if code:
        witness.spin(0.3)  # nothing may follow
    moved = witness.moves_while_latched
    injector.undo(fault)
    undone = time.monotonic()
    again = witness.until_moving(RECOVER_S)
    seen = Seen(
        latched=code,
        hold_s=None if hold_s is None else round(hold_s, 3),
        said=said,
        moved_while_latched=moved,
        works_again_s=round(time.monotonic() - undone, 2) if again else None,
    )
    return judge(fault, seen, detail)


def _length(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _news(file: Path, start: int) -> str:
    """The first line that was written behind `start`."""
    if _length(file) <= start:
        return ""
    with file.open("rb") as stream:
        stream.seek(start)
        line = stream.read().decode(errors="replace").strip().splitlines()[0]
    return line.split(" s: ", 1)[0] + (" s." if " s: " in line else "")


def _words(witness: Witness, code: str, *, wanted: bool) -> str:
    """What a person is told: by the stop, by the end of the episode, or by who waits."""
    if code:
        return str(witness.safety.message)
    if not wanted:
        return ""
    witness.wait(lambda: bool(witness.ended or witness.waits_for), WORDS_S)
    return witness.ended[-1] if witness.ended else witness.waits_for


def chosen(args: argparse.Namespace) -> list[tuple[Fault, int]]:
    """Faults to rehearse, with the number of the callback for those that need one."""
    faults = [BY_NAME[name] for name in args.names]
    if not args.random:
        return [(fault, number) for fault in faults for number in range(_ways(fault))]
    rng = random.Random(args.seed)
    return [(rng.choice(faults), rng.randrange(MOST_CALLBACKS)) for _ in range(args.random)]


def _ways(fault: Fault) -> int:
    return MOST_CALLBACKS if fault.kind == "raise" else 1


def main() -> int:
    """Rehearse and write `faults.json` after every fault; 1 if one was missed."""
    parser = argparse.ArgumentParser(prog="python -m tmrl_ros.nodes.rehearsal")
    parser.add_argument("names", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config-file", type=Path, required=True)
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--launcher", type=Path, required=True, help="what the launcher says")
    args = parser.parse_args()
    rclpy.init(args=[])
    witness = Witness()
    results: list[Result] = []
    about = {"seed": args.seed, "random": bool(args.random)}
    try:
        injector = Injector(witness.node, witness.wait, args.config_file)
        if not witness.until_moving(START_S):
            print("The graph does not begin to move the arm.", file=sys.stderr)
            return 2
        counts: dict[str, int] = {}
        for fault, number in chosen(args):
            if number >= counts.get(fault.name, MOST_CALLBACKS):
                continue
            if not witness.until_moving(RECOVER_S):
                print("The graph does not move the arm any more.", flush=True)
                return 1
            try:
                result = rehearse(witness, injector, fault, number, args.launcher)
                if " of " in result.detail:
                    counts[fault.name] = int(result.detail.rsplit(" of ", 1)[1])
            except LookupError as error:
                result = Result(fault.name, Seen(), skipped=str(error))
            results.append(result)
            write_json(args.out, results, about)
            print(json.dumps(_line(result)), flush=True)
            if result.seen.works_again_s is None and not result.skipped:
                return 1
    finally:
        write_json(args.out, results, about)
        witness.executor.shutdown()
        rclpy.try_shutdown()
    return int(any(result.missed for result in results))


def _line(result: Result) -> dict[str, object]:
    return {
        "fault": result.fault,
        "detail": result.detail,
        "skipped": result.skipped,
        "missed": result.missed,
        **vars_of(result.seen),
    }


def vars_of(seen: Seen) -> dict[str, object]:
    """Fields of a frozen dataclass by name."""
    return {name: getattr(seen, name) for name in Seen.__dataclass_fields__}


if __name__ == "__main__":
    sys.exit(main())
