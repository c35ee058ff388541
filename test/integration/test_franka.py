"""The driver of a real Franka against doubles that speak the robot's own interfaces, over DDS."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import rclpy
from franka_bench import PATIENCE_S, Bench, make_config, steps
from franka_processes import Processes, environment
from std_msgs.msg import String

from tmrl_msgs.msg import ChunkOutcome
from tmrl_ros.core import topics
from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.types import RobotMode
from tmrl_ros.nodes.newest import Newest

STEPS = ("errors", "hardware", "controllers")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("franka")
    config = make_config(folder)
    processes = Processes(config, folder / "config.yaml")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in node_environment(config).items():
            patch.setenv(key, value)
        rclpy.init()
        try:
            processes.cell()
            processes.node("franka")
            processes.node("safety_supervisor")
            bench = Bench(processes)
            bench.until(lambda: bench.sample is not None, "the first state")
            yield bench
            bench.close()
        finally:
            processes.end()
            rclpy.try_shutdown()


@pytest.fixture
def ready(bench: Bench) -> Bench:
    bench.make_ready()
    return bench


def recover(bench: Bench) -> str:
    """All steps; what the last one says."""
    for step in STEPS:
        answer = bench.recover(step)
        assert answer.success, answer.message
    return answer.message


def refused(bench: Bench, *overrides: str) -> str:
    """What a driver that ends at its start says."""
    folder = bench.processes.config_file.parent / "refused"
    config = make_config(folder, *overrides)
    words = [
        "-m",
        "tmrl_ros.nodes.franka",
        "--ros-args",
        "-p",
        f"config_file:={folder}/config.yaml",
    ]
    ended = subprocess.run(
        [sys.executable, *words],
        env=environment(config),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    return ended.stderr.strip().splitlines()[-1]


def test_states_come_with_the_robots_stamps_and_a_growing_tick(ready: Bench) -> None:
    first = ready.sample
    ready.until(lambda: ready.sample.tick >= first.tick + 5, "five states")
    last = ready.sample
    assert last.mode is RobotMode.MOVE and last.faults == ()
    assert last.frame_id == "fr3_link0"
    assert last.joint_names[0] == "fr3_joint1"
    # Five periods of 50 ms of the robot's clock; a busy machine may skip some.
    assert last.stamp_ns - first.stamp_ns >= 4 * 50_000_000
    assert last.ee_pose.position == pytest.approx([0.45, 0.0, 0.20], abs=2e-3)
    assert last.gripper_width_m == pytest.approx(0.08, abs=2e-3)


def test_a_chunk_moves_the_arm(ready: Bench) -> None:
    before = ready.sample.ee_pose.position
    outcome = ready.move(steps(6, dx=0.01))
    assert outcome.result == ChunkOutcome.RESULT_EXECUTED
    ready.until(lambda: ready.sample.ee_pose.position[0] > before[0] + 0.05, "the arm to arrive")
    assert ready.move(steps(6, dx=-0.01)).result == ChunkOutcome.RESULT_EXECUTED
    assert ready.cell("report")["ignored"] == 0


def test_the_gripper_gets_few_goals_and_never_two_at_once(ready: Bench) -> None:
    before = len(ready.cell("report")["finger_goals"])
    for opening in (0.5, 0.1, 0.5, 0.1, 0.9, 0.5, 0.0):
        assert ready.move(steps(4, opening=opening)).result == ChunkOutcome.RESULT_EXECUTED
    ready.until(lambda: ready.sample.gripper_width_m < 5e-3, "closed fingers")
    assert ready.move(steps(2, opening=1.0)).result == ChunkOutcome.RESULT_EXECUTED
    ready.until(lambda: ready.sample.gripper_width_m > 0.075, "open fingers")
    report = ready.cell("report")
    goals = report["finger_goals"][before:]
    assert goals[-1] == "move" and set(goals) == {"grasp", "move"}
    # 30 widths were asked for; each goal is another than the one before.
    assert all(a != b for a, b in zip(goals, goals[1:], strict=False))
    assert report["overlapping"] == 0
    ready.until(lambda: ready.press(topics.HOME_GRIPPER).success, "a homing, after the last goal")


def test_a_stop_holds_where_the_arm_is(ready: Bench) -> None:
    received = ready.cell("report")["received"]
    ready.press(topics.STOP)
    ready.until_latched("OPERATOR_STOP")
    ready.until(lambda: ready.cell("report")["received"] > received, "the hold")
    held = ready.sample.ee_pose.position
    at = ready.cell("report")["position"]
    assert np.linalg.norm(np.array(at) - held) < 5e-3


def test_a_reflex_is_recovered_by_a_person_in_three_steps(ready: Bench) -> None:
    ready.cell("reflex")
    ready.until_latched("REFLEX")
    ready.until_present("REFLEX", "ROBOT_FAULT")
    assert ready.sample.faults == ("joint_reflex",)
    answer = ready.press(topics.RESET)
    assert not answer.success and "reflex" in answer.message
    for step in ("hardware", "controllers"):
        assert "Next is 'tmrl recover errors'" in ready.recover(step).message
    for done, step in enumerate(STEPS, start=1):
        assert not ready.press(topics.RESET).success  # nothing is clear before the last step
        answer = ready.recover(step)
        assert answer.success and answer.message.startswith(f"Step {done} of 3 done")
    ready.until_present()
    assert ready.safety.code == "REFLEX"  # recovered, and still stopped
    ready.make_ready()
    assert "Nothing to recover" in ready.recover("errors").message


def test_recovery_does_not_send_the_arm_where_it_was(ready: Bench) -> None:
    ready.cell("reflex_in_motion")
    ready.until_latched("UNCONFIGURED")  # the state is silent; nobody says that it was a reflex
    ready.press(topics.STOP)  # commands the hold again; the controller must not remember it
    before = ready.cell("report")["position"][1]
    ready.cell("guide")
    ready.until(lambda: ready.cell("report")["position"][1] > before + 0.045, "the guided arm")
    assert "It had been stopped by cartesian_reflex." in recover(ready)
    assert ready.cell("report")["jump_m"] < 5e-3
    ready.make_ready()
    assert ready.cell("report")["position"][1] > before + 0.045
    assert ready.move(steps(2)).result == ChunkOutcome.RESULT_EXECUTED


def test_a_stop_button_counts_until_the_arm_is_recovered(ready: Bench) -> None:
    ready.cell("press_stop")
    ready.until_latched("USER_STOP")
    ready.until_present("USER_STOP")
    assert "release it first" in ready.recover("errors").message
    ready.cell("release_stop")
    ready.until_present("ROBOT_FAULT")
    assert ready.sample.faults == ("user_stop_not_recovered",)
    recover(ready)
    ready.until_present()
    ready.make_ready()
    assert ready.move(steps(3, dx=0.005)).result == ChunkOutcome.RESULT_EXECUTED


def test_a_stop_button_in_motion_takes_the_hardware_down(ready: Bench) -> None:
    ready.cell("press_stop_in_motion")
    ready.until_latched("UNCONFIGURED")
    answer = ready.recover("errors")
    assert not answer.success and "Step 1 of 3 failed" in answer.message
    ready.cell("release_stop")
    recover(ready)
    ready.make_ready()


def test_hardware_that_goes_down_is_unconfigured(ready: Bench) -> None:
    ready.cell("unconfigure")
    ready.until_latched("UNCONFIGURED")
    assert ready.recover("errors").success
    ready.cell("refuse")
    answer = ready.recover("hardware")
    assert not answer.success and "stays unconfigured" in answer.message
    ready.cell("agree")
    assert ready.recover("hardware").success
    ready.cell("refuse")
    answer = ready.recover("controllers")
    assert not answer.success and "could not be activated (refused)" in answer.message
    ready.cell("agree")
    assert ready.recover("controllers").success
    ready.make_ready()


def test_a_silent_robot_latches_until_it_speaks(ready: Bench) -> None:
    ready.cell("silence")
    ready.until_latched("ROBOT_SILENT")
    assert not ready.press(topics.RESET).success
    ready.cell("speak")
    ready.make_ready()


def test_a_second_publisher_on_the_controllers_topic_latches(ready: Bench) -> None:
    intruder = ready.intrude()
    ready.until_latched("ROBOT_FAULT")
    assert ready.sample.faults == ("second_publisher_on_target_pose",)
    ready.node.destroy_publisher(intruder)
    ready.until_present()
    ready.make_ready()


def test_a_controller_that_is_made_stiffer_latches(ready: Bench) -> None:
    ready.set_parameter("cartesian_controller", "task.k_pos_z", 2000.0)
    ready.until_latched("ROBOT_FAULT")
    assert ready.sample.faults == ("controller_parameters_changed",)
    assert "may press with up to 106 N" in ready.processes.said("franka")
    ready.set_parameter("cartesian_controller", "task.k_pos_z", 500.0)
    ready.until_present()
    ready.make_ready()


def test_a_person_puts_the_objects_back(ready: Bench) -> None:
    assert "Nobody waits" in ready.press(topics.SCENE_READY).message
    answer = ready.reset_scene()
    assert answer.success, answer.message
    assert (
        0.0 <= answer.duration_s < PATIENCE_S
    )  # of control periods, of which none may have passed
    assert ready.cell("report")["placed"] >= 1


def test_a_controller_that_may_press_too_hard_is_refused(bench: Bench) -> None:
    said = refused(bench, "safety.max_force_n=20")
    assert "up to 43 N" in said and "task.error_clip.x 0.023" in said


def test_a_second_driver_is_refused(bench: Bench) -> None:
    said = refused(bench, "robot.franka.start_timeout_s=8")
    assert "franka already publishes on /target_pose" in said


def test_another_arm_is_refused(bench: Bench) -> None:
    said = refused(bench, "robot.model=panda", "robot.ee_frame=panda_hand_tcp")
    assert "robot.model=panda has" in said


def test_a_robot_that_is_not_there_is_said(bench: Bench) -> None:
    said = refused(bench, "robot.franka.namespace=left", "robot.franka.start_timeout_s=1")
    assert "Nobody publishes /left/controller_manager/activity after 1 s" in said


def test_joint_targets_are_refused(bench: Bench) -> None:
    said = refused(bench, "robot.franka.controller_mode=joint")
    assert "set it to cartesian" in said


def test_the_command_line_reaches_the_driver(ready: Bench) -> None:
    domain = f"session.domain_id={ready.processes.config.session.domain_id}"
    for words, said in (
        (["recover", "errors"], "Nothing to recover"),
        (["ready"], "Nobody waits for the objects."),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "tmrl_ros.cli.main", *words, domain],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 1
        assert said in done.stdout


def test_a_fast_topic_wakes_nobody_and_its_newest_message_is_taken(bench: Bench) -> None:
    unspun = rclpy.create_node("unspun")
    newest = Newest(unspun, String, "fast")
    publisher = bench.node.create_publisher(String, "fast", 10)
    bench.until(publisher.get_subscription_count, "the subscription")
    for number in range(300):
        publisher.publish(String(data=str(number)))
    found: list[str] = []

    def take() -> bool:
        msg = newest.take()
        found.extend([msg.data] if msg else [])
        return found[-1:] == ["299"]

    bench.until(take, "the last message")
    assert newest.take() is None
    unspun.destroy_node()


def test_a_missing_package_is_one_sentence(bench: Bench) -> None:
    code = (
        "import sys; sys.modules['franka_msgs.action'] = None; "
        "from tmrl_ros.nodes import franka; sys.exit(franka.main())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(bench.processes.config),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines() == [
        "robot.kind=franka needs the ROS package franka_msgs, which is not here: build franka_ros2 "
        "(branch jazzy) in a workspace, install ros-jazzy-ros2-control, and source both before "
        "this command (docs/hardware.md)."
    ]


def test_a_driver_that_was_killed_comes_back(ready: Bench) -> None:
    ready.processes.kill("franka")
    ready.until_latched("ROBOT_SILENT")
    ready.processes.node("franka")
    ready.make_ready()
    assert ready.move(steps(3, dx=0.005)).result == ChunkOutcome.RESULT_EXECUTED
