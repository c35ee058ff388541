"""`tmrl faults` breaks a running graph, and says what came of it."""

import json
from dataclasses import replace

import pytest
from whole_graph import tmrl

from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.rehearsal.catalogue import BY_NAME, FAULTS, Expected
from tmrl_ros.rehearsal.verdict import BEGIN, END, Result, Seen, judge, table, write_docs

HELD = Seen(latched="REFLEX", hold_s=0.1, said="It stopped.", works_again_s=1.0)
WENT_ON = Seen(works_again_s=1.0)
STOOD = Seen(hold_s=0.2, works_again_s=1.0)


def test_every_fault_has_a_name_of_its_own_and_every_node_is_killed_stopped_and_raised_in():
    assert len(BY_NAME) == len(FAULTS)
    killed = {fault.subject for fault in FAULTS if fault.kind == "kill"}
    for kind in ("freeze", "raise"):
        assert {fault.subject for fault in FAULTS if fault.kind == kind} == killed
    assert killed >= {"safety_supervisor", "sim_franka", "policy_server", "learner", "recorder"}


@pytest.mark.parametrize(
    ("fault", "seen", "missed"),
    [
        ("reflex", HELD, []),
        ("reflex", STOOD, ["the stop did not latch"]),
        ("kill_perception", STOOD, []),
        ("kill_perception", HELD, []),
        ("kill_perception", WENT_ON, ["the arm went on"]),
        ("kill_learner", WENT_ON, []),
        ("kill_learner", HELD, ["the arm did not go on"]),
        ("camera_black", WENT_ON, []),
        ("reflex", replace(HELD, moved_while_latched=2), ["2 targets while latched"]),
        ("reflex", replace(HELD, works_again_s=None), ["it did not work again"]),
    ],
)
def test_what_was_seen_is_compared_with_what_must_be(fault, seen, missed):
    assert judge(BY_NAME[fault], seen).missed == missed


def test_the_table_has_medians_and_what_was_left_out_and_why():
    slow = judge(BY_NAME["reflex"], replace(HELD, hold_s=0.3))
    skipped = Result("network_gone", Seen(), skipped="network namespaces need root")
    text = table([judge(BY_NAME["reflex"], HELD), slow, skipped])
    assert "| `reflex` |" in text and "| 2 | It stopped. | 0.20 s (0.30 s) | 2 of 2 | 0 |" in text
    assert "skipped: network namespaces need root" in text


def test_the_page_s_table_is_replaced_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nformer table\n{END}\nafter\n")
    write_docs(page, [judge(BY_NAME["reflex"], HELD)])
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n")
    assert "former" not in text and "`reflex`" in text
    page.write_text("nothing\n")
    with pytest.raises(ConfigurationError, match="no place for the table"):
        write_docs(page, [])


def test_the_operators_page_has_the_table_of_a_rehearsal(root):
    page = (root / "docs" / "safety.md").read_text()
    between = page.split(BEGIN, 1)[1].split(END, 1)[0]
    assert all(f"`{fault.name}`" in between for fault in FAULTS)
    assert Expected.LATCHES in BY_NAME["user_stop"].expected


def test_an_unknown_fault_is_refused_in_one_sentence():
    said = tmrl("faults", "--name", "earthquake")
    assert said.returncode == 2
    assert said.stderr == (
        "'earthquake' is no fault: `tmrl faults --list` shows them; --all takes all.\n"
    )
    assert "chunk_nan" in tmrl("faults", "--list").stdout


def test_faults_are_rehearsed_on_a_graph_of_their_own(tmp_path, domain_id):
    named = [word for name in ("chunk_nan", "user_stop") for word in ("--name", name)]
    said = tmrl(
        *("faults", *named, f"session.dir={tmp_path / 'rehearsal'}"),
        f"session.domain_id={domain_id}",
    )
    assert said.returncode == 0, said.stdout + said.stderr
    report = json.loads((tmp_path / "rehearsal" / "faults.json").read_text())
    assert (report["runs"], report["missed"]) == (2, 0)
    by_name = {row["fault"]: row["seen"] for row in report["results"]}
    assert by_name["chunk_nan"]["latched"] == "NON_FINITE_ACTION"
    assert by_name["user_stop"]["latched"] == "USER_STOP"
    assert "stop button is pressed" in by_name["user_stop"]["said"]
    assert all(seen["hold_s"] is not None for seen in by_name.values())
