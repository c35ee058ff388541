"""Robot PC and GPU PC: which node runs where, and what one computer tells the other at the start.

Both are started with the same words except `session.host`. Each repeats an announcement: the hash
and the values of its configuration, and its clock. From it the other sees at once whether both mean
the same experiment, and how far the clocks are apart.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.load import config_hash, experiment

ALL, ROBOT, GPU = "all", "robot", "gpu"
ON_GPU_PC = ("policy_server", "learner", "reward")
LINK = "host_link"
MAX_CLOCK_OFFSET_S = 0.05
"""A quarter of the age at which a camera's frame makes no observation any more."""
SILENT_S = 4.0
"""Fast DDS repeats what was lost after three seconds."""
ROUND_TRIPS = 20
KEYS_NAMED = 3


def runs_on(node: str, host: str) -> bool:
    """Whether a node runs on a computer: `robot`, `gpu`, or `all` where there is only one."""
    return host == ALL or node == LINK or (node in ON_GPU_PC) == (host == GPU)


def other(host: str) -> str:
    """The computer at the other end of the cable."""
    return ROBOT if host == GPU else GPU


@dataclass(frozen=True)
class Announcement:
    """What one computer says; times are wall-clock seconds of the computer that names them.

    Attributes:
        host: `robot` or `gpu`.
        sender: Differs between processes, so that an echo is known for one's own.
        digest: Hash of the experiment's configuration.
        values: The values behind it, by dotted key.
        sent_s: When it was sent.
        echo_sender: Whose announcement came last.
        echo_sent_s: When that was sent, by its sender's clock.
        echo_received_s: When it came here.
    """

    host: str
    sender: str
    digest: str
    values: dict[str, Any]
    sent_s: float
    echo_sender: str = ""
    echo_sent_s: float = 0.0
    echo_received_s: float = 0.0

    def to_json(self) -> str:
        """As it travels."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Announcement | None:
        """What another program said; None if it is no announcement."""
        try:
            raw = json.loads(text)
            return Announcement(
                host=str(raw["host"]),
                sender=str(raw["sender"]),
                digest=str(raw["digest"]),
                values=dict(raw["values"]),
                sent_s=float(raw["sent_s"]),
                echo_sender=str(raw["echo_sender"]),
                echo_sent_s=float(raw["echo_sent_s"]),
                echo_received_s=float(raw["echo_received_s"]),
            )
        except (ValueError, TypeError, KeyError):
            return None


@dataclass
class Link:
    """One end of the cable: what is said, and what is known of the other end."""

    config: Config
    sender: str
    heard: Announcement | None = None
    heard_s: float = float("-inf")
    _clock_heard_s: float = 0.0
    _trips: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=ROUND_TRIPS))

    def announce(self, clock_s: float) -> Announcement:
        """The next announcement, at a wall-clock time."""
        seen = self.heard
        return Announcement(
            host=self.config.session.host,
            sender=self.sender,
            digest=config_hash(self.config),
            values=flat(experiment(self.config)),
            sent_s=clock_s,
            echo_sender=seen.sender if seen else "",
            echo_sent_s=seen.sent_s if seen else 0.0,
            echo_received_s=self._clock_heard_s,
        )

    def hear(self, said: Announcement, clock_s: float, now_s: float) -> None:
        """Take an announcement that came at a wall-clock time and at a monotonic one.

        Raises:
            ConfigurationError: The other computer was started with another configuration.
        """
        if said.host != other(self.config.session.host):
            return
        self.heard, self.heard_s, self._clock_heard_s = said, now_s, clock_s
        if said.digest != config_hash(self.config):
            raise ConfigurationError(self._mismatch(said))
        if said.echo_sender == self.sender:
            there, back = said.echo_received_s - said.echo_sent_s, said.sent_s - clock_s
            round_trip_s = there + (clock_s - said.sent_s)
            self._trips.append((round_trip_s, (there + back) / 2.0))

    @property
    def clock(self) -> tuple[float, float] | None:
        """How far the other's clock is ahead, s, and the round trip it was measured over, s.

        As in NTP (RFC 5905, section 8), of the quickest of the last round trips: its error is at
        most half of that trip.
        """
        if not self._trips:
            return None
        round_trip_s, ahead_s = min(self._trips)
        return ahead_s, round_trip_s

    def trouble(self, now_s: float) -> str:
        """What is wrong with the other end, in one sentence; "" if nothing is."""
        name = other(self.config.session.host)
        if self.heard is None:
            return (
                f"Nothing is heard of the {name} PC: start the same command there with "
                f"session.host={name}, and look at the cable."
            )
        silent_s = now_s - self.heard_s
        if silent_s > SILENT_S:
            return f"The {name} PC has been silent for {silent_s:.0f} s: look at the cable."
        if self.clock and abs(self.clock[0]) > MAX_CLOCK_OFFSET_S + self.clock[1] / 2.0:
            ahead_s = self.clock[0]
            which = "ahead of" if ahead_s > 0 else "behind"
            return (
                f"The clock of the {name} PC is {abs(ahead_s):.2f} s {which} this one's: start "
                "chrony on both computers."
            )
        return ""

    def _mismatch(self, said: Announcement) -> str:
        here, name = self.config.session.host, other(self.config.session.host)
        mine, keys = flat(experiment(self.config)), []
        for key in sorted(mine.keys() | said.values.keys()):
            if mine.get(key) != said.values.get(key):
                keys.append(f"{key} is {mine.get(key)!r} here, {said.values.get(key)!r} there")
        more = f" and {len(keys) - KEYS_NAMED} more" if len(keys) > KEYS_NAMED else ""
        which = "; ".join(keys[:KEYS_NAMED]) + more if keys else "the software differs"
        return (
            f"The {here} PC and the {name} PC were started with different configurations "
            f"({which}): type the same command on both, with only session.host different."
        )


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
