import json
import random

import pytest
from episode_events import event
from recorded import put

from tmrl_msgs.msg import GroundTruth
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.load import load_config, write_config
from tmrl_ros.core.types import EpisodeOutcome, EpisodeState, Phase, Reward
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.data.reward_sidecar import Sidecar, choose, write_sidecar
from tmrl_ros.nodes.convert import header
from tmrl_ros.session.origin import command
from tmrl_ros.session.records import EpisodeRecord, append_record, load_records, of_phase
from tmrl_ros.session.report import build_report
from tmrl_ros.session.seeds import PHASE_NAMES, episode_id
from tmrl_ros.session.status import Status, read_json, wall_seconds_before


def write(folder, phase, index, outcome, *, attempt=0, **changes):
    name = episode_id(phase, index)
    values = {
        "episode_id": name,
        "index": index,
        "phase": PHASE_NAMES[phase],
        "outcome": outcome.name.lower(),
        "attempt": attempt,
        "decisions": 4,
        "robot_seconds": 9.0,
        "reset_seconds": 5.0,
        "job_wall_s": 60.0 + index,
        "t_context": [0.1, 0.5, 0.2, 0.9],
        "z_norm": [1.0] * 4,
        "latency_ms": [4.0, 5.0, 6.0, 9.0],
        "steps_sent": 32,
        "steps_clipped": 4,
        "bundle_hash": "abc",
        "learner": {"critic_loss": 1.0 / (index + 1), "transitions": 4 * index, "bad": None},
        **changes,
    }
    record = EpisodeRecord(**values)
    ended = event(
        name,
        EpisodeState.ENDED,
        outcome,
        record.decisions,
        record.labelled_by,
        index=index,
        phase=phase,
        prompt="lift",
        reason=record.reason,
        method=record.method or "tmrl",
        robot_seconds=record.robot_seconds,
    )
    append_record(folder, record, ended)
    return record


@pytest.fixture
def session(tmp_path):
    config = load_config(["task=lift", "session.seed=3", f"session.dir={tmp_path}"])
    write_config(config, tmp_path / "config.yaml")
    rng = random.Random(0)
    success, timeout = EpisodeOutcome.SUCCESS, EpisodeOutcome.TIMEOUT
    for index in range(10):
        write(tmp_path, Phase.EVALUATE_BEFORE, index, success if index < 2 else timeout)
    for index in range(30):
        outcome = success if rng.random() < index / 30 else timeout
        write(tmp_path, Phase.TRAIN, index, outcome, t_context=[0.3] * (1 + index % 4))
    aborted = EpisodeOutcome.ABORTED
    write(tmp_path, Phase.EVALUATE_AFTER, 0, aborted, reason="FORCE", robot_seconds=3.0)
    for index in range(10):
        write(tmp_path, Phase.EVALUATE_AFTER, index, success, attempt=int(index == 0))
    return tmp_path


def test_report_counts_what_the_log_says(session):
    (session / "memory.json").write_text('{"peak_memory_mb": 812.5}')
    report = build_report(session)
    assert report == json.loads((session / "report.json").read_text())
    before, after = report["success_before"], report["success_after"]
    assert (before["rate"], before["n"]) == (0.2, 10)
    assert (after["rate"], after["n"]) == (1.0, 10)
    assert before["low"] < 0.2 < before["high"]
    assert report["episodes"] == 30
    assert report["robot_minutes"] == pytest.approx(30 * 9 / 60)
    assert report["robot_minutes_resets"] == pytest.approx(30 * 5 / 60)
    assert report["robot_minutes_evaluation"] == pytest.approx((20 * 9 + 3) / 60)
    assert report["wall_minutes"] == pytest.approx(89 / 60)
    assert report["peak_memory_mb"] == 812.5
    assert report["clip_rate"] == pytest.approx(0.125)
    assert report["aborted"] == [
        {
            "episode_id": "evaluate_after_000000",
            "attempt": 0,
            "reason": "FORCE",
            "labelled_by": "",
        }
    ]
    assert report["latency_ms"]["p50"] == 5.5
    assert report["latency_ms"]["max"] == 9.0
    assert (report["seed"], report["task"], report["method"]) == (3, "lift", "tmrl")
    assert report["bundle_hash"] == "abc"
    assert {"python", "torch", "numpy", "mujoco", "rclpy", "tmrl_ros", "git_commit"} <= set(
        report["versions"]
    )


def test_a_session_that_was_judged_again_is_reported_as_it_counts_now(session):
    names = [episode_id(Phase.EVALUATE_AFTER, k) for k in range(4)]
    write(session, Phase.EVALUATE_AFTER, 3, EpisodeOutcome.SUCCESS, labelled_by="ada")
    for name in names:
        no = Reward(0, 1, name, 1, True, 0.4, 0.1, success=False, failure=False)
        (session / "episodes" / name).mkdir(parents=True)
        write_sidecar(session / "episodes" / name, Sidecar(name, "m", "f00d", {}, "", "", [no]))
    choose(session, "f00d")
    report = build_report(session)
    assert report["success_after"]["rate"] == 0.7, "a person's label stays"
    assert report["relabelled"] == {"model": "m", "model_hash": "f00d", "changed": names[:3]}
    page = (session / "report.html").read_text()
    assert "judged again" in page and names[0] in page
    choose(session, "")
    report = build_report(session)
    assert report["success_after"]["rate"] == 1.0 and report["relabelled"] is None
    assert "judged again" not in (session / "report.html").read_text()


def write_bag(folder, name, outcome, done_at=()):
    """A bag of ten moments, 0.1 s apart, of which the truth calls some a success."""
    writer = BagWriter(folder / "episodes" / name, custom={}, compress=True)
    running = event(name, EpisodeState.RUNNING, stamp_ns=0)
    moments = [
        GroundTruth(header=header(k * 100_000_000), success=k in done_at) for k in range(1, 11)
    ]
    for piece in (running, *moments, event(name, EpisodeState.ENDED, outcome)):
        put(writer, piece)
    writer.close({})


def test_evaluations_that_a_model_judged_are_reported_by_the_truth(session):
    config = load_config(["task=lift", "reward=learned", f"session.dir={session}"])
    write_config(config, session / "config.yaml")
    names = [episode_id(Phase.EVALUATE_AFTER, k) for k in range(4)]
    success, timeout = EpisodeOutcome.SUCCESS, EpisodeOutcome.TIMEOUT
    write_bag(session, names[0], success, done_at=[10])
    write_bag(session, names[1], success)
    write_bag(session, names[2], success, done_at=[2])  # dropped long before the end
    write(session, Phase.EVALUATE_AFTER, 3, success, labelled_by="ada")
    write_bag(session, names[3], success)
    missed = episode_id(Phase.EVALUATE_BEFORE, 9)
    write_bag(session, missed, timeout, done_at=[4, 5])
    trained = episode_id(Phase.TRAIN, 29)
    write_bag(session, trained, success)
    report = build_report(session)
    assert report["success_after"]["rate"] == 0.9, "one was none, and a person's word stays"
    assert report["success_before"]["rate"] == 0.3
    assert report["evaluation"] == {
        "judged_by": "simulator's truth",
        "said_by": "learned",
        "said_before": report["evaluation"]["said_before"],
        "said_after": report["evaluation"]["said_after"],
        "checked": 4,
        "false_successes": 2,
        "missed_successes": 1,
    }
    assert report["evaluation"]["said_before"]["rate"] == 0.2
    assert report["evaluation"]["said_after"]["rate"] == 1.0
    assert report["success_training"] == build_report_of_simulator(session)["success_training"]


def build_report_of_simulator(session):
    config = load_config(["task=lift", "reward=simulator", f"session.dir={session}"])
    write_config(config, session / "config.yaml")
    report = build_report(session)
    assert report["evaluation"] == {"judged_by": "simulator"}
    assert (report["success_before"]["rate"], report["success_after"]["rate"]) == (0.2, 1.0)
    return report


def test_page_holds_its_pictures_and_names_the_hardware_stop_first(session):
    build_report(session)
    page = (session / "report.html").read_text()
    plots = sorted(path.name for path in (session / "plots").glob("*.png"))
    assert plots == [
        "before_after.png",
        "learner.png",
        "robot_time.png",
        "success.png",
        "t_context.png",
    ]
    assert page.count("data:image/png;base64,") == len(plots)
    assert "://" not in page and 'src="plots' not in page
    note = page.index("hardware stop button comes first")
    assert note < page.index("software stop:")
    assert "make finetune" in page
    assert "the software stop latched (FORCE)" in page


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ((0, 10), (10, 10), "Success rose from 0 % to 100 %; the intervals do not overlap."),
        ((10, 10), (0, 10), "Success fell from 100 % to 0 %; the intervals do not overlap."),
        ((4, 10), (7, 10), "Success went from 40 % to 70 %, but the intervals overlap"),
        ((4, 10), (0, 0), "Success was not measured both before and after training"),
    ],
)
def test_page_says_in_words_whether_training_helped(tmp_path, before, after, words):
    write_config(load_config(["task=lift"]), tmp_path / "config.yaml")
    for phase, (good, n) in ((Phase.EVALUATE_BEFORE, before), (Phase.EVALUATE_AFTER, after)):
        for index in range(n):
            outcome = EpisodeOutcome.SUCCESS if index < good else EpisodeOutcome.TIMEOUT
            write(tmp_path, phase, index, outcome)
    build_report(tmp_path)
    assert words in (tmp_path / "report.html").read_text()


def test_report_of_a_job_that_has_just_begun(tmp_path):
    write_config(load_config(["task=lift"]), tmp_path / "config.yaml")
    with pytest.raises(ConfigurationError, match="no ended episode"):
        build_report(tmp_path)
    write(tmp_path, Phase.EVALUATE_BEFORE, 0, EpisodeOutcome.TIMEOUT, latency_ms=[], steps_sent=0)
    report = build_report(tmp_path)
    assert report["success_after"]["rate"] is None
    assert report["clip_rate"] is None and report["peak_memory_mb"] is None
    assert "not measured" in (tmp_path / "report.html").read_text()


def test_missing_session_is_one_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match=r"config\.yaml"):
        build_report(tmp_path)


def test_torn_line_is_skipped_and_a_relabelled_episode_counts_once(session):
    log = session / "episodes.jsonl"
    with log.open("a") as file:
        file.write('{"episode_id": "train_0000')
    count = len(load_records(session))
    write(session, Phase.TRAIN, 0, EpisodeOutcome.SUCCESS, labelled_by="anna")
    records = load_records(session)
    assert len(records) == count
    first = of_phase(records, "train")[0]
    assert (first.outcome, first.labelled_by) == ("success", "anna")


def test_lines_hold_mean_and_longest_latency(session):
    line = json.loads((session / "episodes.jsonl").read_text().splitlines()[0])
    assert (line["latency_mean_ms"], line["latency_max_ms"]) == (6.0, 9.0)
    assert (line["phase"], line["outcome"], line["prompt"]) == (
        "evaluate_before",
        "success",
        "lift",
    )


def test_status_shows_the_last_twenty_and_the_job_so_far(session):
    records = load_records(session)
    status = Status(
        phase="train",
        episode=31,
        episodes_total=200,
        wall_minutes=12.5,
        t_context=[0.1],
        learner={"updates_owed": 3.0, "updates_per_second": float("nan")},
        message="Waiting for the learner.",
    )
    status.write(session, records)
    shown = read_json(session / "status.json")
    assert shown["success_rate"]["n"] == 20
    assert shown["updates_owed"] == 3.0 and shown["updates_per_second"] is None
    assert shown["safety"]["state"] == "unknown"
    assert shown["robot_minutes"] == pytest.approx((50 * 9 + 3) / 60, abs=1e-3)
    assert wall_seconds_before(session, records) == 750.0
    assert wall_seconds_before(session / "nowhere", []) == 0.0


def test_more_training_makes_the_last_evaluation_out_of_date(session):
    write(session, Phase.TRAIN, 30, EpisodeOutcome.SUCCESS)
    report = build_report(session)
    assert report["success_after"]["n"] == 0
    assert report["robot_minutes_evaluation"] == pytest.approx((20 * 9 + 3) / 60)


def test_command_names_what_was_changed():
    config = load_config(["task=lift", "session.seed=4", "session.evaluation_episodes=7"])
    text = command(config)
    assert text.startswith("make finetune ARGS='task=lift method=tmrl session.seed=4")
    assert "session.evaluation_episodes=7" in text
    assert "session.dir" not in text
    moved = config.session.model_copy(update={"domain_id": 7})
    assert command(config.model_copy(update={"session": moved})) == text


def test_a_fall_back_to_the_base_policy_is_reported_with_its_figures(tmp_path):
    config = load_config(["task=lift", f"session.dir={tmp_path}"])
    write_config(config, tmp_path / "config.yaml")
    for index in range(20):
        write(tmp_path, Phase.EVALUATE_BEFORE, index, EpisodeOutcome.SUCCESS, method="base")
    figures = {"value_expected": 0.8, "return_seen": 0.2, "disagreement": 0.1}
    for index in range(50):
        method = "base" if index >= 40 else "tmrl"
        write(
            tmp_path,
            Phase.TRAIN,
            index,
            EpisodeOutcome.SUCCESS if method == "base" else EpisodeOutcome.FAILURE,
            method=method,
            learner=figures,
        )
    report = build_report(tmp_path)
    (found,) = report["fallbacks"]
    assert (found["from_episode"], found["episodes"]) == (41, 10)
    assert (found["successes"], found["n"]) == (0, 20)
    assert (found["base_successes"], found["base_n"]) == (20, 20)
    assert found["p_value"] < found["level"] < 0.05
    assert report["critic"] == {"expected": 0.8, "seen": 0.2, "disagreement": 0.1}
    page = (tmp_path / "report.html").read_text()
    assert "From training episode 41 on the base policy acted" in page
    assert "expect 0.80 of a decision" in page


def test_it_says_when_the_method_changed_and_measures_the_new_one_alone(session):
    assert build_report(session)["methods"] == [{"method": "tmrl", "first": 0, "last": 29}]
    assert "The method changed" not in (session / "report.html").read_text()
    config = load_config(["task=lift", "method=rlpd", "session.seed=3", f"session.dir={session}"])
    write_config(config, session / "config.yaml")
    report = build_report(session)
    assert report["success_after"]["n"] == 0, "what another method reached is not this one's"
    for index in range(30, 33):
        acted = "base" if index == 31 else "rlpd"
        write(session, Phase.TRAIN, index, EpisodeOutcome.SUCCESS, method=acted)
    write(session, Phase.EVALUATE_AFTER, 0, EpisodeOutcome.TIMEOUT, method="rlpd", attempt=3)
    report = build_report(session)
    assert report["methods"] == [
        {"method": "tmrl", "first": 0, "last": 29},
        {"method": "rlpd", "first": 30, "last": 32},
    ]
    assert (report["success_after"]["n"], report["success_after"]["rate"]) == (1, 0.0)
    page = " ".join((session / "report.html").read_text().split())
    assert "The method changed while training: tmrl in episodes 1 to 30, then rlpd" in page
