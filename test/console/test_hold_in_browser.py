"""A person holds the page's hold-to-run button: a real browser, the real graph over DDS."""

from __future__ import annotations

import pytest
from browser import Page, find_browser
from graph import Graph
from witness import Witness

from tmrl_msgs.msg import RobotTarget, SafetyState

pytestmark = pytest.mark.skipif(
    find_browser() is None,
    reason="no Chromium is installed (apt-get install chromium): the page is tested only in one",
)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hold") / "session"
    graph = Graph(folder, "collect", "safety.hold_to_run=true")
    try:
        graph.url()
        yield graph
    finally:
        graph.close()


@pytest.fixture(scope="module")
def witness(graph):
    witness = Witness("hold_witness")
    yield witness
    witness.close()


@pytest.fixture
def page(graph, witness, tmp_path):
    page = Page(tmp_path / "profile", graph.url())
    page.until("!document.getElementById('hold').hidden", "the button")
    page.until("document.getElementById('sign').className == 'ready'", "a released stop")
    witness.until(lambda: witness.safety.code == "HOLD_RELEASED", "the word that nobody holds")
    yield page
    assert page.errors == []
    page.close()


def mouse(page, kind):
    x, y = page.evaluate(
        "(() => { const b = document.getElementById('hold').getBoundingClientRect();"
        "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
    )
    page.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def key(page, kind):
    text = "h" if kind == "keyDown" else ""
    page.ask("Input.dispatchKeyEvent", type=kind, code="KeyH", key="h", text=text)


def nothing_moves(witness):
    """Targets that were on their way are there by now; from here on none moves the arm."""
    witness.until(lambda: witness.safety.code == "HOLD_RELEASED", "the release")
    witness.look(0.5)
    witness.kinds.clear()
    witness.look(1.5)
    assert RobotTarget.KIND_TRACK not in witness.kinds
    assert witness.safety.state == SafetyState.STATE_READY, "a release latches nothing"


def test_nothing_moves_before_the_button_is_held(page, witness):
    nothing_moves(witness)
    assert "Nobody holds" in page.text("#sign-words")


@pytest.mark.parametrize("way", ["mouse", "key"])
def test_the_arm_moves_while_it_is_held_and_holds_when_it_is_not(page, witness, way):
    press, down, up = {
        "mouse": (mouse, "mousePressed", "mouseReleased"),
        "key": (key, "keyDown", "keyUp"),
    }[way]
    press(page, down)
    witness.until_moving()
    page.until("document.getElementById('hold').classList.contains('held')", "the button's look")
    assert witness.safety.latches == 0
    press(page, up)
    witness.until(lambda: witness.kinds[-1:] == [RobotTarget.KIND_HOLD], "the hold")
    nothing_moves(witness)
    press(page, down)
    witness.until_moving()
    press(page, up)


def test_a_page_that_is_killed_while_it_holds_stops_the_arm(page, witness):
    mouse(page, "mousePressed")
    witness.until_moving()
    page.process.kill()
    nothing_moves(witness)


def test_a_page_that_hangs_while_it_holds_stops_the_arm(page, witness):
    mouse(page, "mousePressed")
    witness.until_moving()
    page.evaluate(
        "window.spin = () => { const end = Date.now() + 4000; while (Date.now() < end); }"
    )
    page.evaluate("void setTimeout(window.spin, 0)")
    nothing_moves(witness)
    page.until("true", "the page to be back")
    mouse(page, "mouseReleased")


def test_a_whole_episode_succeeds_with_the_button_held(page, graph, witness):
    mouse(page, "mousePressed")

    def succeeded():
        return any(row["outcome"] == "success" for row in graph.outcomes().values())

    graph.until(succeeded, "a success")
    mouse(page, "mouseReleased")
    nothing_moves(witness)
    assert not any(row["outcome"] == "aborted" for row in graph.outcomes().values())


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1024, 768), (820, 1180)])
def test_the_button_fits_beside_stop_and_sign_on_every_screen(page, width, height):
    page.resize(width, height)
    for name in ("stop", "hold", "sign", "reset", "success", "failure"):
        left, top, right, bottom = page.evaluate(
            f"(() => {{ const b = document.getElementById('{name}').getBoundingClientRect();"
            "return [b.left, b.top, b.right, b.bottom]; })()"
        )
        assert left >= 0 and top >= 0 and right <= width and bottom <= height, name
        if name == "stop":
            assert (right - left) * (bottom - top) > 0.08 * width * height
