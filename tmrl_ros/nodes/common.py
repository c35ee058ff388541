"""What every node shares: its configuration, QoS, and a main that starts and stops cleanly."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.load import load_config, read_config
from tmrl_ros.core.parent import end_with_parent_if_wanted
from tmrl_ros.nodes.mishaps import Mishaps, mishaps_of

RELIABLE = QoSProfile(
    depth=10, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE
)
LATCHED = QoSProfile(
    depth=1,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
# Late joiners get the newest, and a subscriber that is busy for a while still gets every change:
# with LATCHED, four quick changes reach a busy subscriber as one.
EVENTS = QoSProfile(
    depth=10,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
# Of a state that is repeated many times a second, or of a person's hand, only the newest counts: a
# reader that was busy must not follow what is long over.
NEWEST = QoSProfile(
    depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE
)
IMAGES = QoSProfile(
    depth=5, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE
)

EXIT_BAD_INPUT = 2


class ConfiguredNode(Node):  # type: ignore[misc]
    """A node whose one parameter, `config_file`, names the session's resolved configuration."""

    def __init__(self, name: str, *, config: Config | None = None) -> None:
        """Read the configuration from the parameter unless `config` is given (tests)."""
        self._mishaps: Mishaps | None = None
        super().__init__(name)
        self._mishaps = mishaps_of(self)
        self.declare_parameter(
            "config_file",
            "",
            ParameterDescriptor(description="resolved config.yaml of the session", read_only=True),
        )
        path = str(self.get_parameter("config_file").value)
        self.config = config or (read_config(Path(path)) if path else load_config())

    # rclpy gives every publisher and subscription event handlers, and puts each of them into a wait
    # set for every message: with ten topics that is more than half of the cost of a message. They
    # warn of mismatched QoS; who talks to foreign drivers passes `event_callbacks` to have them.

    def create_publisher(self, *args: Any, **settings: Any) -> Publisher:
        """As in rclpy, without event handlers unless asked for."""
        quiet = PublisherEventCallbacks(use_default_callbacks=False)
        return super().create_publisher(*args, **{"event_callbacks": quiet, **settings})

    def create_subscription(self, *args: Any, **settings: Any) -> Subscription:
        """As in rclpy, without event handlers unless asked for."""
        quiet = SubscriptionEventCallbacks(use_default_callbacks=False)
        args = self._breakable(args, 2)
        return super().create_subscription(*args, **{"event_callbacks": quiet, **settings})

    def create_timer(self, *args: Any, **settings: Any) -> Timer:
        """As in rclpy."""
        return super().create_timer(*self._breakable(args, 1), **settings)

    def create_service(self, *args: Any, **settings: Any) -> Service:
        """As in rclpy."""
        return super().create_service(*self._breakable(args, 2), **settings)

    def _breakable(self, args: tuple[Any, ...], position: int) -> tuple[Any, ...]:
        """Arguments whose callback can be made to fail in a rehearsal of faults."""
        if self._mishaps is None or len(args) <= position:
            return args
        return (*args[:position], self._mishaps.breakable(args[position]), *args[position + 1 :])

    @property
    def session_dir(self) -> Path:
        """Folder of the session."""
        return self.config.session.dir


def run_node(make: Callable[[], Node], args: list[str] | None = None) -> int:
    """Spin one node on a single thread until SIGINT, SIGTERM or shutdown; return the exit code.

    A bad configuration or bundle is printed as one sentence and ends with exit code 2.
    `close()` of the node, if it has one, runs on the way out. A node that decides about the exit
    code itself has an attribute `exit_code`.
    """
    end_with_parent_if_wanted()
    rclpy.init(args=args if args is not None else sys.argv)
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    node: Node | None = None
    executor = SingleThreadedExecutor()
    try:
        node = make()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except OperatorError as error:
        print(f"{error}", file=sys.stderr, flush=True)
        return EXIT_BAD_INPUT
    except Exception:
        if not stopping:  # an interrupt inside a C call comes out as whatever that call raises
            raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        close = getattr(node, "close", None)
        if callable(close):
            close()
        executor.shutdown(timeout_sec=0.5)
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        gc.freeze()  # collecting what torch leaves behind takes seconds, which a stop has not
    return int(getattr(node, "exit_code", 0))
