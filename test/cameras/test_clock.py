"""Time stamps of a camera's clock on the host's clock."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrl_ros.cameras.clock import ClockMap

SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND
TRANSFER_MS = 8.0


def stamped(seconds, *, drift, seed=0, rate_hz=30.0, jump_at=None):
    """Error (ms) of every stamp of a camera whose clock runs `drift` too fast."""
    rng = np.random.default_rng(seed)
    clock, errors, stamps = ClockMap(), [], []
    for number in range(int(seconds * rate_hz)):
        taken_s = number / rate_hz
        camera_ms = 777.0 + taken_s * 1e3 * (1.0 + drift)
        if jump_at is not None and taken_s >= jump_at:
            camera_ms -= 777.0 + jump_at * 1e3
        delay_ms = TRANSFER_MS + rng.exponential(6.0)
        taken_ns = START_NS + round(taken_s * SECOND)
        stamps.append(clock.host_ns(camera_ms, taken_ns + round(delay_ms * 1e6)))
        errors.append((stamps[-1] - taken_ns) / 1e6)
    return np.array(errors), stamps


@pytest.mark.parametrize("drift", [0.0, 100e-6, -100e-6])
def test_stamps_do_not_drift_from_the_host_in_an_hour(drift):
    errors, _ = stamped(3600.0, drift=drift)
    settled = errors[60:]
    assert settled.min() >= TRANSFER_MS - 1.5
    assert settled.max() <= TRANSFER_MS + 1.5


def test_delays_of_single_pictures_do_not_reach_their_stamps():
    errors, _ = stamped(60.0, drift=0.0)
    assert np.std(errors[150:]) < 0.2, "arrival times vary by 6 ms"


def test_a_camera_clock_that_starts_again_is_followed():
    errors, _ = stamped(20.0, drift=0.0, jump_at=10.0)
    assert np.abs(errors[-60:] - TRANSFER_MS).max() < 1.5


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 500.0)), min_size=2, max_size=60))
def test_stamps_grow_and_are_never_later_than_the_arrival(steps):
    clock, camera_ms, stamps, arrivals = ClockMap(), 0.0, [], []
    for step_ms, delay_ms in steps:
        camera_ms += step_ms
        arrived_ns = START_NS + round((camera_ms + delay_ms) * 1e6)
        arrived_ns = max([arrived_ns, *arrivals[-1:]])
        stamps.append(clock.host_ns(camera_ms, arrived_ns))
        arrivals.append(arrived_ns)
    assert all(later > earlier for earlier, later in zip(stamps, stamps[1:], strict=False))
    late_ns = [s - a for s, a in zip(stamps, arrivals, strict=True)]
    assert max(late_ns) <= len(steps), "only to keep the order, by nanoseconds"
