import json
import re
import shutil

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from episode_events import event
from recorded import HORIZON, STEPS, chunk, item, outcome, reward
from sessions import open_bags, put, record, stop, story

from tmrl_ros.analysis.bag_report import build_bag_report
from tmrl_ros.analysis.digest import digest_session
from tmrl_ros.cli.main import main
from tmrl_ros.core.types import EpisodeOutcome, EpisodeState
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.data.recording import Recording
from tmrl_ros.session.report import episode_figures
from tmrl_ros.session.statistics import wilson

SUCCESS, TIMEOUT = EpisodeOutcome.SUCCESS, EpisodeOutcome.TIMEOUT
FIGURES = {
    *("success", "robot_time", "t_context", "wall_time", "progress", "actions", "tracking"),
    *("clips", "latency", "camera_age", "labels", "messages", "key_frames"),
}


def read(folder, name):
    return pyarrow.parquet.read_table(folder / f"{name}.parquet").to_pylist()


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """The folder of the report of four episodes."""
    session = record(tmp_path_factory.mktemp("reported"), [SUCCESS, TIMEOUT] * 2)
    return build_bag_report(session).parent


def test_every_figure_is_there_as_picture_csv_and_parquet_with_the_same_rows(reported):
    page, folder = reported / "report.html", reported / "figures"
    assert {path.stem for path in folder.glob("*.png")} == FIGURES
    text = page.read_text()
    for name in FIGURES:
        table = pyarrow.parquet.read_table(folder / f"{name}.parquet")
        text_table = pyarrow.csv.read_csv(folder / f"{name}.csv")
        assert table.num_rows == text_table.num_rows > 0, name
        assert table.column_names == text_table.column_names
        assert f"figures/{name}.csv" in text and f"figures/{name}.parquet" in text
    assert len(re.findall(r"data:image/png;base64,", text)) == len(FIGURES)


def test_rows_of_decisions_hold_what_the_messages_said(reported):
    rows = read(reported / "tables", "decisions")
    assert len(rows) == 4 * 4, "the last observation has a row, too"
    row = next(r for r in rows if (r["episode_id"], r["decision"]) == ("train_000002", 1))
    asked, done, said = chunk(1), outcome(1), reward(1)
    assert asked.actions.shape == (HORIZON, 4)
    assert [row[f"asked_{name}"] for name in ("x", "y", "z", "gripper")] == pytest.approx(
        list(asked.actions[STEPS - 1])
    )
    assert [row[f"executed_{name}"] for name in ("x", "y", "z", "gripper")] == pytest.approx(
        list(done.executed[-1])
    )
    assert row["measured_z"] == pytest.approx(done.measured[-1, 2])
    assert row["z_norm"] == pytest.approx(np.linalg.norm(asked.z), rel=1e-6)
    assert (row["t_context"], row["steps_sent"], row["steps_clipped"]) == (0.25, STEPS, 1)
    assert (row["progress"], row["success_probability"]) == (said.progress, 0.25)
    assert row["latency_ms"] == pytest.approx(2.0), "two messages later, one each millisecond"
    last = next(r for r in rows if (r["episode_id"], r["decision"]) == ("train_000002", 3))
    assert (last["result"], last["asked_x"]) == ("skipped", None)


def test_figures_are_those_of_the_bags(reported):
    report = json.loads((reported / "report.json").read_text())
    assert report["success_training"] == wilson(2, 4).as_dict()
    assert report["outcomes"] == {"success": 2, "timeout": 2}
    assert (report["task"], report["seed"], report["config_hash"]) == ("lift", 4, "c0ffee")
    assert report["labels"] == {"reward": {"success": 2, "timeout": 2}}
    assert report["decisions"] == 12 and report["operator"] == "anna"
    clipped = 3 + 1 + 1  # decisions, the last observation and the reset
    assert report["clip_rate"] == pytest.approx(clipped / (4 * STEPS))


def test_wall_time_adds_up_to_the_length_of_the_bags(session):
    digest = digest_session(session)
    for row in digest.episodes:
        spans = (row.wall_reset_s, row.wall_seeing_s, row.wall_deciding_s)
        whole = sum(spans) + row.wall_moving_s + row.wall_other_s
        messages = len(story(0, SUCCESS)) - 1
        assert whole == pytest.approx(1e-3 * messages), "the messages came a millisecond apart"
        assert min(spans) > 0 and row.wall_moving_s > 0


def test_a_label_that_came_late_counts_and_is_listed(session):
    said = event("train_000001", EpisodeState.ENDED, SUCCESS, 3, "anna", 10**9 + 3)
    bags = open_bags(session)
    put(bags, item(said), {})
    bags.close()
    digest = digest_session(session)
    outcomes = [row.outcome for row in digest.episodes]
    assert outcomes == ["success", "success", "success", "timeout"]
    assert digest.episodes[1].labelled_by == "anna"
    (late,) = [row for row in digest.labels if row.late]
    assert (late.episode_id, late.outcome, late.labelled_by) == ("train_000001", "success", "anna")


def test_a_damaged_a_half_written_and_a_foreign_bag_are_named_and_the_rest_is_read(session):
    episodes = session / "episodes"
    half = episodes / "train_000001" / "train_000001_0.mcap"
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 3])
    (episodes / "train_000002" / "train_000002_0.mcap").write_bytes(b"no bag at all")
    shutil.rmtree(episodes / "train_000003")
    (episodes / "train_000003").mkdir()
    (episodes / "train_000003" / "episode.json").write_text('{"episode_id": "train_000003"}')
    page = build_bag_report(session)
    rows = read(page.parent / "tables", "skipped")
    assert {row["bag"] for row in rows if row["left_out"]} == {
        "train_000001",
        "train_000002",
        "train_000003",
    }
    assert [row["episode_id"] for row in read(page.parent / "tables", "episodes")] == [
        "train_000000"
    ]
    text = page.read_text()
    assert all(f"train_00000{k}" in text for k in (1, 2, 3)) and "cut off" in text


def test_a_bag_without_its_index_is_read_up_to_its_end_and_named(session):
    folder = session / "episodes" / "train_000001"
    (folder / "metadata.yaml").unlink()
    file = folder / "train_000001_0.mcap"
    file.write_bytes(file.read_bytes()[:-400])
    digest = digest_session(session)
    assert len(digest.episodes) == 4 and not digest.episodes[1].complete
    (row,) = digest.skipped
    assert row.bag == "train_000001" and not row.left_out


def test_nothing_but_damage_is_one_sentence(session, tmp_path):
    for file in session.rglob("*.mcap"):
        file.write_bytes(b"")
    with pytest.raises(BagError, match="has no bag of an ended episode"):
        build_bag_report(session)
    with pytest.raises(BagError, match="holds no bags"):
        build_bag_report(tmp_path / "nowhere")


def test_an_aborted_attempt_is_reported_beside_the_one_that_counts(session):
    record(session, [EpisodeOutcome.ABORTED], first=4)
    record(session, [SUCCESS], first=4)
    digest = digest_session(session)
    both = [(r.attempt, r.outcome, r.success) for r in digest.episodes if r.episode_id[-1] == "4"]
    assert both == [(0, "aborted", None), (1, "success", True)]
    figures = episode_figures(digest.records, "tmrl")
    assert figures["success_training"]["n"] == 5
    assert [row["episode_id"] for row in figures["aborted"]] == ["train_000004"]


def test_stops_are_told_once_with_code_and_sentence(session):
    bags, numbers = open_bags(session), {}
    pieces = story(4, TIMEOUT)
    begun_ns = item(pieces[0]).stamp_ns
    for place, piece in enumerate(pieces):
        put(bags, item(piece), numbers)
        if place in (4, 6):  # the supervisor repeats itself five times a second
            put(bags, stop("FORCE", "The arm met 70 N.", begun_ns), numbers)
    bags.close()
    page = build_bag_report(session)
    (row,) = read(page.parent / "tables", "safety")
    assert (row["code"], row["message"], row["episode_id"]) == (
        "FORCE",
        "The arm met 70 N.",
        "train_000004",
    )
    assert "FORCE: The arm met 70 N. (70 N)" in page.read_text()
    assert (page.parent / "figures" / "safety.png").exists()


def test_messages_that_never_came_are_counted_by_topic(session):
    bags, numbers = open_bags(session), {}
    for piece in story(4, SUCCESS):
        one = item(piece)
        if one.topic.name == "/reward" and numbers.get("/reward") == 1:
            numbers["/reward"] += 2
        put(bags, one, numbers)
    bags.close()
    rows = {row.topic: row for row in digest_session(session).messages}
    assert (rows["/reward"].sent, rows["/reward"].recorded) == (22, 20)
    assert (rows["/reward"].lost, rows["/observation"].lost) == (2, 0)


def test_the_command_writes_the_page_and_refuses_what_is_no_session(session, capsys, tmp_path):
    assert main(["bag", "report", str(session), "--out", str(tmp_path / "out")]) == 0
    assert "out/report.html" in capsys.readouterr().out
    assert (tmp_path / "out" / "report.html").exists()
    assert main(["bag", "report", str(tmp_path / "nothing")]) == 2
    assert "There is no session" in capsys.readouterr().err


def test_repair_gives_a_killed_recorders_bag_its_index_back(session, capsys):
    folder = session / "episodes" / "train_000001"
    (folder / "metadata.yaml").unlink()
    file = folder / "train_000001_0.mcap"
    file.write_bytes(file.read_bytes()[:-400])
    assert main(["bag", "repair", str(session)]) == 0
    assert capsys.readouterr().out == "train_000001: repaired\n4 bags, 1 changed.\n"
    digest = digest_session(session)
    assert not digest.skipped and len(digest.decisions) == 16


def test_a_stop_between_two_episodes_is_told_from_its_own_bag(session):
    recording = Recording(session, custom={}, stop_buffer_s=10.0)
    recording.start()
    now_ns = item(chunk(0)).stamp_ns
    recording.put([stop("", "", 0), stop("OPERATOR_STOP", "anna pressed it", now_ns)])
    recording.close()
    (row,) = digest_session(session).safety
    assert (row.code, row.message) == ("OPERATOR_STOP", "anna pressed it")
