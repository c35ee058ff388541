"""A session over two computers: two network namespaces, a cable, one graph in two parts."""

import json
import signal
import subprocess
import sys

import pytest
from whole_graph import DECISIONS, Run, moves_after_last_outcome, moves_while_latched

from tmrl_ros.cli.two_pcs import TwoPcs, on_pc, why_not
from tmrl_ros.rehearsal.cable import change_cable

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "two computers")
WORDS = (
    "session.localhost_only=false",
    "task=lift",
    "reward=simulator",
    f"task.max_decisions={DECISIONS}",
    "robot.simulated_operator=false",
    "safety.policy_timeout_s=10",  # more than a decision takes on a busy machine
    "recorder.cameras=none",
    "method.warmup_episodes=2",
    "method.updates_per_decision=1",
    "method.batch_size=16",
    "session.evaluation_episodes=0",
    "session.train_episodes=20",
    "session.decision_timeout_s=20",
)


def tmrl_on(pc, *words):
    argv = [*on_pc(pc), sys.executable, "-m", "tmrl_ros.cli.main", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=150, check=False)


@pytest.fixture
def pcs(tmp_path):
    with TwoPcs(tmp_path) as pcs:
        yield pcs


@pytest.fixture
def start(pcs, tmp_path, bundle, domain_id):
    """Starts the same command on one of the two computers."""
    runs = []

    def go(pc, *overrides):
        words = [
            f"session.dir={tmp_path / pc}",
            f"session.host={pc}",
            f"session.domain_id={domain_id}",
            f"task.bundle={bundle}",
            *WORDS,
        ]
        runs.append(Run(tmp_path / pc, [*words, *overrides], prefix=on_pc(pc)))
        return runs[-1]

    yield go
    for run in runs:
        run.kill_everything()


def stop_code(run):
    safety = run.status.get("safety") or {}
    return safety.get("code", "") if safety.get("state") == "latched" else ""


def reset(run):
    """A person presses reset until the graph takes it."""
    run.until(
        lambda: tmrl_on("robot", "reset", "--session", str(run.session)).returncode == 0, "a reset"
    )


def until_one_counts(run):
    """A person stands by and resets: what was under way when the cable went comes late, and stops.

    A chunk that was too old is refused in words, and is never carried out.
    """

    def counts():
        if stop_code(run):
            reset(run)
        return run.ended()

    run.until(counts, "an episode that counts")


def start_gpu(start, *overrides):
    """The GPU PC's part, up: torch alone takes a minute on a busy machine."""
    gpu = start("gpu", *overrides)
    gpu.until(lambda: "are sampled by" in gpu.log("policy_server"), "a policy server that is up")
    return gpu


def test_the_arm_holds_when_the_cable_is_pulled_and_goes_on_after_return_and_reset(start, pcs):
    patient = "safety.max_chunk_age_s=2"  # a busy machine answers late
    gpu = start_gpu(start, patient)
    robot = start("robot", patient)
    robot.until(lambda: stop_code(robot) == "START", "the latched start")
    reset(robot)
    first = robot.until_running()
    assert gpu.node("policy_server") and gpu.node("learner") and gpu.node("reward")
    assert robot.node("sim_franka") and robot.node("safety_supervisor") and robot.node("recorder")
    assert robot.node("policy_server") is None and gpu.node("safety_supervisor") is None

    change_cable(pcs.cable, "down")
    robot.until(lambda: stop_code(robot) == "POLICY_TIMEOUT", "a stop without the policy")
    change_cable(pcs.cable, "")
    reset(robot)
    until_one_counts(robot)
    assert gpu.process.poll() is None

    robot.process.send_signal(signal.SIGINT)
    gpu.process.send_signal(signal.SIGINT)
    assert (robot.wait(), gpu.wait()) == (130, 130)
    assert not robot.orphans and not gpu.orphans
    cut = [bag for bag in robot.every_bag() if bag.name.startswith(f"{first}.aborted")]
    assert cut, robot.aborted
    # Held at the end of the last chunk that had come, and nothing followed while it was latched.
    assert all(moves_after_last_outcome(bag) <= 0 for bag in cut)
    assert all(moves_while_latched(bag) == 0 for bag in robot.every_bag())


def test_a_slow_and_lossy_cable_is_gone_over(start, pcs):
    change_cable(pcs.cable, "delay 20ms loss 5%")
    patient = ("safety.policy_timeout_s=0", "safety.max_chunk_age_s=5")
    start_gpu(start, *patient)
    robot = start("robot", *patient)
    robot.until(lambda: stop_code(robot) == "START", "the latched start")
    reset(robot)
    until_one_counts(robot)


def test_two_configurations_end_the_run_with_one_sentence(start):
    gpu, robot = start("gpu", "task.max_decisions=7"), start("robot")
    assert (robot.wait(), gpu.wait()) == (2, 2)
    for said in (gpu.output, robot.output):
        assert "host_link cannot go on: The " in said
        assert "PC were started with different configurations (task.max_decisions is " in said


def test_the_doctor_measures_the_other_computer_s_clock(start, bundle, domain_id, tmp_path):
    gpu = start("gpu")
    gpu.until(lambda: gpu.node("learner"), "the GPU PC's part")
    said = tmrl_on(
        *("robot", "doctor", "--no-graph", "--json", *WORDS, f"task.bundle={bundle}"),
        *(f"session.domain_id={domain_id}", "session.host=robot", f"session.dir={tmp_path / 'no'}"),
    )
    found = {item["check"]: item for item in json.loads(said.stdout)}
    assert found["gpu PC"]["level"] == "good", found
    assert found["clocks"]["level"] == "good", found  # it is the same clock
