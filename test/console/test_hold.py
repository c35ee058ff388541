"""The hold-to-run button of a page, over real sockets: held, released, late, and lost."""

import pytest
from test_server import served  # noqa: F401
from websockets.exceptions import InvalidStatus

from tmrl_ros.console.hold import LATE_S, HoldLink


def test_a_word_that_comes_when_it_was_said_counts():
    link = HoldLink()
    assert link.hear("1 5000.0", 100.0)
    assert link.hear("1 5080.0", 100.08)
    assert not link.hear("0 5100.0", 100.1)


def test_words_that_queued_up_in_a_lost_connection_do_not_count():
    link = HoldLink()
    assert link.hear("1 5000.0", 100.0)
    late_s = 101.0 + LATE_S
    assert not link.hear("1 5080.0", late_s)
    assert not link.hear("1 5900.0", late_s)
    assert link.hear("1 6240.0", late_s), "the newest is as fresh as the first was"


@pytest.mark.parametrize("words", ["", "2 10", "1", "1 nan", "1 inf", "held 1"])
def test_other_words_are_refused(words):
    with pytest.raises(ValueError):
        HoldLink().hear(words, 100.0)


def test_the_page_s_button_reaches_the_graph_and_its_end_is_a_release(served):  # noqa: F811
    with served.socket("/api/hold") as page:
        page.send("1 1000.0")
        served.until(lambda: served.hand.pressed == [("hold", True)], "the press")
        page.send("0 1000.1")
        served.until(lambda: served.hand.pressed[-1:] == [("hold", False)], "the release")
        page.send("1 1000.2")
        served.until(lambda: served.hand.pressed[-1:] == [("hold", True)], "another press")
    served.until(lambda: served.hand.pressed[-1:] == [("hold", False)], "the lost page")


def test_a_page_that_says_something_else_has_let_go(served):  # noqa: F811
    with served.socket("/api/hold") as page:
        page.send("1 1000.0")
        page.send("nonsense")
        served.until(lambda: served.hand.pressed[-1:] == [("hold", False)], "the release")


def test_nobody_holds_the_button_without_the_token(served):  # noqa: F811
    with pytest.raises(InvalidStatus), served.socket("/api/hold", token="wrong"):
        pass
    assert served.hand.pressed == []
