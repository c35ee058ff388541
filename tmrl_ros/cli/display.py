"""Show a run: a table that redraws itself on a terminal, single lines everywhere else."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from tmrl_ros.cli.status import Status

LINE_PERIOD_S = 5.0
KEPT_NOTES = 4


class Display(Protocol):
    """Where a run shows itself."""

    def update(self, status: Status | None, nodes: Mapping[str, str], memory_mb: float) -> None:
        """Show the newest figures."""

    def note(self, text: str) -> None:
        """Show a sentence that must not get lost."""

    def page(self, url: str) -> None:
        """Show where the page with the stop button is."""

    def help(self, text: str) -> None:
        """Show what the keys do."""

    def close(self) -> None:
        """Leave the terminal in order."""


class PlainDisplay:
    """One line per ended episode, or every five seconds."""

    def __init__(self, title: str, folder: Path, console: Console | None = None) -> None:
        self._console = console or Console(soft_wrap=True)
        self._shown: tuple[str, int] | None = None
        self._line = ""
        self._problem = ""
        self._notices: dict[str, str] = {}
        self._due = 0.0
        self._print(f"{title} (session {folder})")

    def update(self, status: Status | None, nodes: Mapping[str, str], memory_mb: float) -> None:
        """Print a line when an episode has ended or the last one is old; a problem at once."""
        if status and status.problem_text and status.problem_text != self._problem:
            self._problem = status.problem_text
            self._print(f"problem: {status.problem_text}")
        for name, text in status.notices.items() if status else ():
            if text not in ("", self._notices.get(name)):
                self._print(f"{name}: {text}")
            self._notices[name] = text
        line = status.line() if status else "starting the nodes"
        unwell = [f"{name} {state}" for name, state in nodes.items() if state != "ok"]
        line += f" | {', '.join(unwell)}" if unwell else ""
        episode = (status.phase, status.episode) if status else None
        now = time.monotonic()
        if line == self._line or (episode == self._shown and now < self._due):
            return
        self._line, self._shown, self._due = line, episode, now + LINE_PERIOD_S
        self._print(line)

    def note(self, text: str) -> None:
        """Print a sentence."""
        self._print(text)

    def page(self, url: str) -> None:
        """Print where the page is."""
        self._print(f"page with the stop button: {url}")

    def help(self, text: str) -> None:
        """Print what the keys do."""
        for line in text.splitlines():
            self._print(line)

    def close(self) -> None:
        """Nothing is held."""

    def _print(self, text: str) -> None:
        stamp = time.strftime("%H:%M:%S")
        self._console.print(f"{stamp} {text}", markup=False, highlight=False)
        self._console.file.flush()


class LiveDisplay:
    """A panel that is redrawn in place. It has no thread of its own."""

    def __init__(self, title: str, folder: Path, console: Console | None = None) -> None:
        self._title, self._folder = title, folder
        self._notes: deque[str] = deque(maxlen=KEPT_NOTES)
        self._live = Live(console=console or Console(), auto_refresh=False, transient=False)
        self._status: Status | None = None
        self._nodes: Mapping[str, str] = {}
        self._memory_mb = 0.0
        self._page = self._help = ""
        self._live.start()

    def update(self, status: Status | None, nodes: Mapping[str, str], memory_mb: float) -> None:
        """Redraw."""
        self._status, self._nodes, self._memory_mb = status, nodes, memory_mb
        self._draw()

    def note(self, text: str) -> None:
        """Keep a sentence at the bottom of the panel."""
        self._notes.append(f"{time.strftime('%H:%M:%S')} {text}")
        self._draw()

    def page(self, url: str) -> None:
        """Keep the page's address in the panel."""
        self._page = url
        self._draw()

    def help(self, text: str) -> None:
        """Keep what the keys do at the bottom of the panel."""
        self._help = text
        self._draw()

    def close(self) -> None:
        """Leave the last panel on the screen."""
        self._live.stop()

    def _draw(self) -> None:
        seen = self._status, self._nodes, self._memory_mb
        drawn = panel(self._title, self._folder, *seen, list(self._notes), self._page, self._help)
        self._live.update(drawn, refresh=True)


def panel(
    title: str,
    folder: Path,
    status: Status | None,
    nodes: Mapping[str, str],
    memory_mb: float,
    notes: list[str],
    page: str = "",
    keys: str = "",
) -> Panel:
    """Draw everything a person beside the stop button wants to see."""
    status = status or Status(message="starting the nodes")
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column()
    if status.episodes_total:
        count = Table.grid(padding=(0, 2))
        count.add_row(
            ProgressBar(status.episodes_total, min(status.episode, status.episodes_total), 30),
            f"{status.episode} of {status.episodes_total} episodes",
        )
        rows.add_row(status.phase, count)
    elif status.phase:
        rows.add_row("phase", status.phase)
    rows.add_row("success", status.success_text)
    rows.add_row(
        "time", f"{status.robot_minutes:.1f} min robot, {status.wall_minutes:.1f} min on the wall"
    )
    if status.collected:
        rows.add_row("collected", escape(status.collected))
    else:
        rows.add_row("t context", status.t_context_text)
        rows.add_row(
            "learner",
            f"{status.transitions} transitions, {status.updates_per_second:.0f} updates/s, "
            f"{status.updates_owed} owed",
        )
    if status.critic_text:
        rows.add_row("critics", status.critic_text)
    if status.clip_text:
        rows.add_row("clipped", status.clip_text)
    if status.human_episodes:
        rows.add_row("person", f"moved the arm in {status.human_episodes} of these episodes")
    for name, text in status.notices.items():
        if text:
            rows.add_row(name, f"[yellow]{escape(text)}[/]")
    colour = {"LATCHED": "bold red", "READY": "green", "RUNNING": "green"}
    style = colour.get(status.safety_state.upper(), "")
    rows.add_row(
        "safety", f"[{style}]{escape(status.safety_text)}[/]" if style else status.safety_text
    )
    if status.problem_text:
        rows.add_row("last problem", f"[yellow]{escape(status.problem_text)}[/]")
    rows.add_row("nodes", _health(nodes))
    if status.messages_lost:
        rows.add_row("lost", f"[yellow]{status.messages_lost} messages did not reach the bag[/]")
    rows.add_row("memory", f"{memory_mb:.0f} MB")
    if page:
        rows.add_row("page", f"[bold]{escape(page)}[/]")
    if status.message:
        rows.add_row("now", escape(status.message))
    body: list[Table | str] = [rows, *(escape(note) for note in notes)]
    if keys:
        body.append(f"[dim]{escape(keys)}[/]")
    return Panel(
        Group(*body), title=escape(title), subtitle=escape(str(folder)), title_align="left"
    )


def _health(nodes: Mapping[str, str]) -> str:
    well = [name for name, state in nodes.items() if state == "ok"]
    unwell = [f"[yellow]{name} {state}[/]" for name, state in nodes.items() if state != "ok"]
    return ", ".join(unwell + ([f"{len(well)} ok"] if well else []))
