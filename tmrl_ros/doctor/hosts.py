"""The other computer, where robot and GPU have one each: there, same configuration, same time."""

from __future__ import annotations

from tmrl_ros.core.hosts import MAX_CLOCK_OFFSET_S, Link, other
from tmrl_ros.doctor.finding import Finding, bad, good, skipped


def hosts(link: Link, mismatch: str) -> list[Finding]:
    """Findings about the other computer.

    Args:
        link: What was heard of it.
        mismatch: Why its configuration is another; "" when it is not.
    """
    name = other(link.config.session.host)
    check = f"{name} PC"
    if mismatch:
        return [bad(check, mismatch, "stop one, and start it again")]
    if link.heard is None:
        remedy = f"there: the same command with session.host={name}, e.g. `tmrl up`; the cable"
        return [bad(check, "nothing is heard of it", remedy)]
    found = [good(check, f"same configuration (hash {link.heard.digest[:12]})")]
    if link.clock is None:
        return [*found, skipped("clocks", f"the {name} PC did not answer often enough to tell")]
    ahead_s, trip_s = link.clock
    text = f"{abs(ahead_s) * 1e3:.1f} ms apart, measured over {trip_s * 1e3:.1f} ms"
    if abs(ahead_s) > MAX_CLOCK_OFFSET_S + trip_s / 2.0:
        return [*found, bad("clocks", text, "start chrony on both computers (docs/install.md)")]
    return [*found, good("clocks", text)]
