"""A person at the page: a real browser, the real graph over DDS, the simulated robot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from browser import Page, find_browser
from graph import Graph
from witness import Witness

from tmrl_msgs.msg import RobotTarget, SafetyState

pytestmark = pytest.mark.skipif(
    find_browser() is None,
    reason="no Chromium is installed (apt-get install chromium): the page is tested only in one",
)
BUNDLE = Path(__file__).parents[2] / "bundles" / "pick_named"
SIGN = "document.getElementById('sign').className"


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    session = tmp_path_factory.mktemp("console") / "session"
    graph = Graph(session, "collect", f"task.bundle={BUNDLE}")
    try:
        graph.url()
        yield graph
    finally:
        graph.close()


@pytest.fixture(scope="module")
def page(graph, tmp_path_factory):
    page = Page(tmp_path_factory.mktemp("browser") / "profile", graph.url())
    yield page
    page.close()


@pytest.fixture(scope="module")
def witness(graph):
    witness = Witness()
    yield witness
    witness.close()


@pytest.fixture(autouse=True)
def is_going(request):
    """Every test begins with a graph that runs episodes, and leaves no error on the page."""
    if find_browser() is None:
        return
    page, graph = request.getfixturevalue("page"), request.getfixturevalue("graph")
    page.until(f"{SIGN} != 'silent'", "the supervisor on the page")
    if page.evaluate(SIGN) == "latched" and page.text("#sign-code").startswith("OPERATOR"):
        page.click("#reset")
    page.until(f"['ready', 'running'].includes({SIGN})", "a released stop")
    if page.evaluate("document.getElementById('start').classList.contains('wanted')"):
        page.click("#start")
    # Four aborted attempts in a row would end the job, which takes them for a fault of the cell.
    graph.until(lambda: not graph.last_was_aborted(), "an episode that ends by itself")
    yield
    assert page.errors == []


@pytest.mark.parametrize("way", ["click", "space bar"])
def test_stop_is_pressed_during_motion(page, witness, way):
    witness.until_moving()
    if way == "click":
        page.click("#stop")
    else:
        page.press_space()
    witness.until(lambda: witness.safety.state == SafetyState.STATE_LATCHED, "the latch")
    assert witness.safety.code == "OPERATOR_STOP"
    witness.look(0.5)
    assert witness.kinds[-1] == RobotTarget.KIND_HOLD
    witness.kinds.clear()
    witness.look(1.0)
    assert RobotTarget.KIND_TRACK not in witness.kinds
    page.until(f"{SIGN} == 'latched'", "the sign")
    assert page.text("#sign-state") == "LATCHED"
    assert "pressed stop" in page.text("#sign-words")


def test_the_space_bar_stops_wherever_the_focus_is(page, witness):
    witness.until_moving()
    page.evaluate("document.getElementById('pause').focus()")
    page.press_space()
    witness.until(lambda: witness.safety.code == "OPERATOR_STOP", "the latch")
    assert page.evaluate("document.getElementById('pause').disabled") is False  # was not pressed


def test_reset_lets_it_go_on(page, witness):
    page.press_space()
    page.until(f"{SIGN} == 'latched'", "the sign")
    page.click("#reset")
    witness.until(lambda: witness.safety.state != SafetyState.STATE_LATCHED, "the release")
    witness.until_moving()


def test_pause_holds_back_the_next_episode_until_start(page, witness):
    page.click("#pause")
    page.until("document.getElementById('waiting').textContent.includes('Paused')", "the pause")
    page.until("document.getElementById('pause').disabled", "the button to show it")
    witness.look(0.5)  # what was sent before the pause and is still queued here
    witness.kinds.clear()
    witness.look(2.0)
    assert RobotTarget.KIND_TRACK not in witness.kinds
    page.click("#start")
    witness.until_moving()


def test_another_task_text_is_chosen_and_counts_from_the_next_episode_on(page, graph):
    page.until("document.getElementById('prompts').length > 2", "the list of texts")
    choose = """(() => {{
        const list = document.getElementById('prompts');
        list.value = '{}';
        list.dispatchEvent(new Event('change'));
    }})()"""
    for text in ("lift the lime cube", "lift the red cube"):
        page.evaluate(choose.format(text))
        page.until(
            f"document.getElementById('answer').textContent == 'From the next episode on: {text}'",
            "the answer",
        )
        page.until(f"document.getElementById('prompt').textContent == '{text}'", "an episode of it")


def test_the_running_episode_is_labelled(page, graph):
    page.until("document.getElementById('episode-state').textContent == 'running'", "an episode")
    page.click("#failure")
    page.until("document.getElementById('answer').textContent.length > 3", "an answer")

    def labelled():
        rows = graph.outcomes().values()
        return [row for row in rows if row["labelled_by"] == "operator"]

    found = graph.until(labelled, "the label in the log")
    assert found[-1]["outcome"] == "failure"


def test_an_ended_episode_is_played_and_relabelled(page, graph):
    page.until("document.querySelector('.row.success')", "a success in the list")
    name = page.evaluate("document.querySelector('.row.success').dataset.episode")
    page.click(".row.success")
    page.until(
        "[...document.querySelectorAll('#player-frames img')].some(i => i.naturalWidth > 50)",
        "frames of the recording",
    )
    page.until("Number(document.getElementById('player-time').value) > 0.2", "the film to play")
    page.click("#relabel [data-outcome=failure]")
    graph.until(lambda: graph.outcomes()[name]["outcome"] == "failure", "the label in the log")
    assert graph.outcomes()[name]["labelled_by"] == "operator"
    page.click("#player-close")
    shown = f"document.querySelector('[data-episode={name}] b').textContent"
    page.until(f"{shown} == 'failure (operator)'", "the label in the list")


def test_a_cut_is_offered_for_training_alone_and_its_refusal_is_shown(page):
    page.until("document.querySelector('.row.success')", "a success in the list")
    page.click(".row.success")
    words = "document.getElementById('trim-words').textContent"
    page.until(
        f"/up to here \\([1-9]\\d* of \\d+ decisions\\)/.test({words})", "decisions that are kept"
    )
    assert page.evaluate("document.getElementById('trim').hidden"), "nothing is learned from it"
    page.evaluate("document.getElementById('trim').hidden = false")
    page.click("#trim [data-outcome=failure]")
    answer = "document.getElementById('answer').textContent"
    page.until(f"{answer}.startsWith('Nothing is learned from collect_')", "the refusal")
    page.click("#player-close")


def test_cameras_are_live(page, graph):
    pictures = "document.querySelectorAll('#cameras img')"
    page.until(
        f"{pictures}.length == 2 && [...{pictures}].every(i => i.naturalWidth > 50)", "two cameras"
    )
    first = page.evaluate(f"{pictures}[0].src")
    page.until(f"{pictures}[0].src != {first!r}", "another picture")


def test_a_page_survives_a_restart_of_the_back_end(page, graph, witness):
    before = graph.address["pid"]
    # The loss may be over before it is asked for.
    page.evaluate(
        "window.lossWords = ''; window.lossWatch = new MutationObserver(() => {"
        "if (document.body.classList.contains('lost'))"
        " window.lossWords = document.querySelector('#link').textContent;});"
        "window.lossWatch.observe(document.body,"
        " {attributes: true, childList: true, subtree: true})"
    )
    graph.kill_console()
    page.until("window.lossWords.includes('hardware button')", "the loss to be shown")
    graph.until(lambda: graph.address.get("pid") not in (None, before), "another console")
    page.until("!document.body.classList.contains('lost')", "the page to be back")
    page.until(f"['ready', 'running'].includes({SIGN})", "the state of the stop")
    page.until("document.querySelectorAll('.row').length > 0", "the episodes")
    witness.until_moving()
    page.press_space()
    witness.until(lambda: witness.safety.code == "OPERATOR_STOP", "the latch")


def test_a_stop_that_nobody_confirms_says_so(page):
    page.evaluate("window.fetch = ((real) => (...words) => window.broken ? "
                  "Promise.reject(new TypeError()) : real(...words))(window.fetch)")  # fmt: skip
    page.evaluate("window.broken = true")
    page.press_space()
    page.until("document.body.dataset.stop == 'bad'", "the warning")
    assert "hardware button" in page.text("#stop small")
    page.evaluate("window.broken = false")
    page.until(f"{SIGN} == 'latched'", "the stop to be tried again")
    page.until("document.body.dataset.stop == ''", "the warning to go")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1024, 768), (820, 1180)])
def test_stop_and_sign_are_in_sight_on_every_screen(page, width, height):
    page.resize(width, height)
    for name in ("stop", "sign", "reset", "success", "failure"):
        box = page.evaluate(
            f"(() => {{ const b = document.getElementById('{name}').getBoundingClientRect();"
            "return [b.left, b.top, b.right, b.bottom]; })()"
        )
        left, top, right, bottom = box
        assert left >= 0 and top >= 0 and right <= width and bottom <= height
        if name == "stop":
            assert (right - left) * (bottom - top) > 0.08 * width * height
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.resize(1280, 800)


def test_without_its_token_the_page_shows_nothing(graph, tmp_path):
    page = Page(tmp_path / "profile", graph.url().partition("?")[0])
    try:
        page.until("document.body.textContent.includes('address that the terminal')", "a refusal")
        assert not page.evaluate("document.getElementById('stop')")
    finally:
        page.close()


def test_the_console_s_address_is_its_owner_s_secret(graph):
    mode = os.stat(graph.session / "console.json").st_mode
    assert mode & 0o077 == 0
    token = graph.url().partition("token=")[2]
    assert token not in (graph.session / "logs" / "console.log").read_text()
