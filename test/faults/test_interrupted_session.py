"""One session with a camera that stops, a full disk, Ctrl-C and a power cut, and its resumes."""

import json
import signal
import time

import pytest
from whole_graph import DECISIONS, is_readable, moves_after_last_outcome, moves_while_latched

from tmrl_ros.data.bag_reader import read_episode

WARMUP, EPISODES = 2, 6
REFUSAL = "No episode starts while the recorder cannot record: Only"


@pytest.fixture(scope="module")
def first(start):
    """Frozen camera, then a full disk, then Ctrl-C in the middle of an episode."""
    run = start(f"session.train_episodes={EPISODES}", f"task.max_decisions={DECISIONS}")
    run.until_running()
    run.set_fault(freeze_camera="wrist")
    run.frozen = run.until(lambda: next(iter(run.aborted), ""), "an aborted episode")
    run.set_fault(freeze_camera="")
    after = [run.frozen, run.until_running(after=[run.frozen])]

    run.set_free_mb(1e9)
    run.kill("recorder")
    run.refusal = run.until(
        lambda: next((line for line in run.output.splitlines() if REFUSAL in line), ""),
        "a refusal on the screen",
    )
    begun, run.begun_while_full = run.status["episode"], []
    for _ in range(20):
        run.begun_while_full.append(run.status["episode"] - begun)
        time.sleep(0.1)
    run.set_free_mb(500.0)
    run.kill("recorder")

    run.until_running(after=after)
    run.process.send_signal(signal.SIGINT)
    run.exit_code = run.wait()
    run.done = [record.index for record in run.ended()]
    run.readable = {bag.name: is_readable(bag) for bag in run.every_bag()}
    return run


def can_be_lost(session, line):
    """Whether an episode counts and its bag holds its end: one bag's recorder was killed."""
    bag = session / "episodes" / line["episode_id"]
    return line["outcome"] != "aborted" and read_episode(bag).ended is not None


def put_aside(session, name):
    """Bags of an episode's attempts that count no more."""
    return {path.name for path in (session / "episodes").glob(f"{name}.aborted-*")}


@pytest.fixture(scope="module")
def second(start, first):
    """Resumed without a line that its bag can give back; killed in the middle of an episode."""
    log = first.session / "episodes.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    lost = next(line for line in reversed(lines) if can_be_lost(first.session, json.loads(line)))
    log.write_text("".join(line for line in lines if line is not lost))
    name = json.loads(lost)["episode_id"]
    before = put_aside(first.session, name)
    run = start(session=first.session, resume=True)
    run.until_running(after=[f"train_{index:06d}" for index in range(len(first.done) + 1)])
    run.kill_everything()
    run.lost, run.put_aside = name, put_aside(run.session, name) - before
    run.done = [record.index for record in run.ended()]
    return run


@pytest.fixture(scope="module")
def third(start, second):
    """Resumed once more, to the end."""
    run = start(session=second.session, resume=True)
    run.exit_code = run.wait()
    return run


def test_a_camera_that_stops_is_named_and_the_episode_aborted(first):
    said = first.log("perception")
    assert "Camera 'wrist' (/camera/wrist/color/image_raw): no colour image after" in said
    assert "check its cable and driver. No observation for 3 s: the arm holds meanwhile" in said
    assert first.aborted[first.frozen][0].startswith(
        "SILENT perception: no observation for decision"
    )


def test_the_arm_holds_while_there_is_no_picture(first):
    bag = first.session / "episodes" / f"{first.frozen}.aborted-1"
    record = read_episode(bag)
    assert len(record.observations) < DECISIONS
    assert moves_after_last_outcome(bag) == 0


def test_no_episode_starts_on_a_full_disk(first):
    assert "less than recorder.min_free_mb=1000000000: delete old sessions" in first.refusal
    assert set(first.begun_while_full) == {0}


def test_ctrl_c_ends_the_run_and_says_how_to_go_on(first):
    assert first.exit_code == 130
    assert "Stopping: the arm holds, bags are closed ..." in first.output
    assert f"Go on with: make finetune RESUME={first.session}" in first.output
    assert "Traceback" not in first.output
    assert first.orphans == []


def test_bags_are_closed_after_ctrl_c(first):
    assert f"train_{len(first.done):06d}" in first.readable, "the episode that was interrupted"
    assert all(first.readable.values()), first.readable


def test_nothing_outlives_a_power_cut_and_the_rest_is_done_after_it(second, third):
    assert second.orphans == []
    assert third.exit_code == 0, third.output
    assert third.orphans == []
    assert third.report["episodes"] == EPISODES
    assert third.report["success_after"]["n"] == 1


def test_episodes_go_on_from_the_next_index(first, second, third):
    assert first.done == list(range(len(first.done)))
    assert second.done == list(range(len(second.done)))
    assert len(first.done) < len(second.done) < EPISODES
    counted = [record.index for record in third.records if not record.aborted]
    counted = counted[1:-1]  # without the evaluations
    assert sorted(counted) == list(range(EPISODES)), "none twice"


def test_an_episode_that_only_its_bag_knew_is_not_run_again(second):
    assert f"{second.lost} had ended, but was not in the log" in second.log("session")
    assert not second.put_aside, "its bag stays where it is"


def test_the_warm_up_is_not_repeated(third):
    training = [bag for name, bag in third.bags.items() if name.startswith("train")]
    for bag in training:  # the one whose recorder was killed may lack its chunks
        actor = "warmup" if int(bag.about["index"]) < WARMUP else "tmrl"
        assert {chunk.actor for chunk in bag.chunks} <= {actor}, bag.episode_id
    assert {chunk.actor for bag in training for chunk in bag.chunks} == {"warmup", "tmrl"}


def test_the_replay_is_what_the_bags_hold(third):
    assert third.status["transitions"] == third.rows() > 0
    assert "Rebuilt the replay from" in third.log("learner")


def test_every_bag_can_be_read_after_the_power_cut(third):
    for bag in third.every_bag():
        assert is_readable(bag), bag.name
        assert moves_while_latched(bag) == 0, bag.name
