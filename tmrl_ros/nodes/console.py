"""The console: a web page with a stop button, for the person beside the robot.

Three threads that do not wait for each other: this node's executor (small messages and the answers
of services), the web server (`console/server.py`), and one that fetches camera pictures while
somebody looks at them. The hardware stop button comes first.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, String

from tmrl_msgs.msg import (
    ActionChunk,
    ChunkOutcome,
    EpisodeEvent,
    LearnerStatus,
    RewardEstimate,
    SafetyState,
)
from tmrl_ros.console.access import new_token
from tmrl_ros.console.address import SavedAddress, read_address, write_address
from tmrl_ros.console.lifeline import Lifeline
from tmrl_ros.console.model import ConsoleModel, SafetyReport
from tmrl_ros.console.pictures import Pictures
from tmrl_ros.console.playback import jpeg
from tmrl_ros.console.prompts import known_prompts
from tmrl_ros.console.routes import Console
from tmrl_ros.console.server import ConsoleServer
from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.core.graph import nodes_for
from tmrl_ros.data import decode
from tmrl_ros.data.episodes_log import EPISODES_FILE, write_json_atomic
from tmrl_ros.data.trims import TRIMS_FILE
from tmrl_ros.nodes.common import EVENTS, LATCHED, RELIABLE, ConfiguredNode, run_node
from tmrl_ros.nodes.operator import OperatorCalls
from tmrl_ros.nodes.polling import PolledSubscription
from tmrl_ros.session.records import load_records
from tmrl_ros.session.status import STATUS_FILE, read_json

TIMES_FILE = "console_minutes.json"
LOOK_PERIOD_S = 1.0
SAVE_EVERY = 5
PICTURE_PERIOD_S = 0.2
# A picture that is lost is not worth sending again: the next one is on its way.
NEWEST_PICTURE = QoSProfile(
    depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT
)
SAFETY_NAMES = {
    SafetyState.STATE_LATCHED: "latched",
    SafetyState.STATE_READY: "ready",
    SafetyState.STATE_RUNNING: "running",
}


class ConsoleNode(ConfiguredNode):
    """Feeds messages to the model and carries out what the page's buttons ask for."""

    def __init__(self, *, config: Config | None = None) -> None:
        """Start the server, under the address of an earlier console of this session if it can."""
        super().__init__("console", config=config)
        session = self.config.session
        file = self.session_dir / "config.yaml"
        self._model = ConsoleModel(
            session=self.session_dir.name,
            task=self.config.task.name,
            prompt=self.config.task.prompt,
            cameras=tuple(camera.name for camera in self.config.cameras.cameras),
            expected=tuple(node.name for node in nodes_for(self.config, file, "up")),
            prompts=known_prompts(self.config.task),
            hold_to_run=self.config.safety.hold_to_run,
        )
        self._model.clock.restore(read_json(self.session_dir / TIMES_FILE))
        self._pictures = Pictures()
        self._log_changed_ns = -1
        self._looks = 0
        self._operator = OperatorCalls(self, self.config, "operator")
        self._connect()
        self._server = self._serve(session.console_address, session.console_port)
        self._stop_pictures = threading.Event()
        self._fetcher = threading.Thread(target=self._fetch, name="pictures", daemon=True)
        self._fetcher.start()

    def _serve(self, address: str, port: int) -> ConsoleServer:
        saved = read_address(self.session_dir)
        server = ConsoleServer(
            Console(
                self._model,
                self._pictures,
                self._operator,
                Lifeline(self.config.session.console_latch_s),
                self.session_dir / "episodes",
            ),
            address=address,
            ports=(*([saved.port] if saved else []), port, 0),
            token=saved.token if saved else new_token(),
            say=self.get_logger().warning,
        )
        url = server.start()
        write_address(self.session_dir, SavedAddress(url, os.getpid()))
        # Without the token, because logs are kept where others may read them.
        self.get_logger().info(f"Serving {url.partition('?')[0]}; `tmrl console` prints the link.")
        return server

    def _connect(self) -> None:
        for kind, topic, callback, qos in (
            (SafetyState, topics.SAFETY_STATE, self._on_safety, LATCHED),
            (EpisodeEvent, topics.EPISODE, self._on_episode, EVENTS),
            (ActionChunk, topics.ACTION_CHUNK, self._on_chunk, RELIABLE),
            (ChunkOutcome, topics.CHUNK_OUTCOME, self._on_outcome, RELIABLE),
            (RewardEstimate, topics.REWARD, self._on_reward, RELIABLE),
            (LearnerStatus, topics.LEARNER_STATUS, self._on_learner, RELIABLE),
            (String, topics.RECORDER_STATUS, self._on_recorder, LATCHED),
            (String, topics.MANAGER_STATUS, self._on_manager, LATCHED),
            (Bool, topics.PAUSED, self._on_paused, LATCHED),
        ):
            self.create_subscription(kind, topic, callback, qos)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(LOOK_PERIOD_S, self._look_around, clock=steady)

    def close(self) -> None:
        """End server and pictures."""
        self._stop_pictures.set()
        self._fetcher.join(2.0)
        self._server.close()
        self._save_minutes()

    # messages

    def _on_safety(self, msg: SafetyState) -> None:
        report = SafetyReport(
            state=SAFETY_NAMES.get(msg.state, "unknown"),
            code=msg.code,
            message=msg.message,
            value=msg.value,
            causes=tuple(msg.present_causes),
            targets_sent=int(msg.targets_sent),
            targets_clipped=int(msg.targets_clipped),
            latches=int(msg.latches),
        )
        if self._model.on_safety(report, time.monotonic()):
            self._server.wake()

    def _on_episode(self, msg: EpisodeEvent) -> None:
        self._model.on_episode(decode.episode(msg))
        self._server.wake()

    def _on_chunk(self, msg: ActionChunk) -> None:
        self._model.on_chunk(decode.chunk(msg))

    def _on_outcome(self, msg: ChunkOutcome) -> None:
        self._model.on_outcome(decode.outcome(msg))

    def _on_reward(self, msg: RewardEstimate) -> None:
        self._model.on_reward(decode.reward(msg))

    def _on_learner(self, msg: LearnerStatus) -> None:
        self._model.on_learner(
            {
                "phase": msg.phase,
                "transitions": int(msg.transitions),
                "updates_done": int(msg.updates_done),
                "updates_owed": int(msg.updates_owed),
                "updates_per_second": float(np.nan_to_num(msg.updates_per_second)),
            }
        )

    def _on_recorder(self, msg: String) -> None:
        self._model.on_recorder(msg.data)

    def _on_manager(self, msg: String) -> None:
        self._model.on_manager(msg.data)

    def _on_paused(self, msg: Bool) -> None:
        self._model.on_paused(bool(msg.data))
        self._server.wake()

    # what is looked at once a second

    def _look_around(self) -> None:
        self._model.tick(time.monotonic())
        self._model.on_nodes(self.get_node_names())
        self._model.on_status(read_json(self.session_dir / STATUS_FILE))
        files = (self.session_dir / EPISODES_FILE, self.session_dir / TRIMS_FILE)
        changed_ns = max(_changed_ns(file) for file in files)
        if changed_ns != self._log_changed_ns:
            self._log_changed_ns = changed_ns
            self._model.on_log(load_records(self.session_dir))
        self._looks += 1
        if self._looks % SAVE_EVERY == 0:
            self._save_minutes()

    def _save_minutes(self) -> None:
        try:
            seconds = {use.value: value for use, value in self._model.clock.seconds.items()}
            write_json_atomic(self.session_dir / TIMES_FILE, seconds, durable=False)
        except OSError as error:
            self.get_logger().warning(f"{error}", throttle_duration_sec=60.0)

    # pictures, in a thread of their own

    def _fetch(self) -> None:
        """Subscribe to the cameras while somebody looks; nobody's pictures cost nothing."""
        taps: dict[str, PolledSubscription] = {}
        while not self._stop_pictures.wait(PICTURE_PERIOD_S):
            if not self._pictures.viewers:
                for tap in taps.values():
                    tap.destroy()
                taps.clear()
                continue
            for camera in self.config.cameras.cameras:
                if camera.name not in taps:
                    topic = topics.color(camera.name)
                    taps[camera.name] = PolledSubscription(self, Image, topic, NEWEST_PICTURE)
                self._take(camera.name, taps[camera.name])

    def _take(self, camera: str, tap: PolledSubscription) -> None:
        taken = list(tap.take())
        if not taken:
            return
        try:
            self._pictures.put(camera, jpeg(decode.image(taken[-1])))
        except ValueError as error:
            self.get_logger().warning(f"Camera {camera}: {error}", throttle_duration_sec=10.0)


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def main() -> int:
    """Run the node."""
    return run_node(ConsoleNode)


if __name__ == "__main__":
    sys.exit(main())
