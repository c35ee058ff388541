"""The latest stop or aborted episode, in words, for the person who watches a run."""

from __future__ import annotations

from dataclasses import dataclass

from tmrl_ros.core.types import Episode, EpisodeOutcome

START_CODE = "START"
# What stands in front of the colon of a reason (`session/episode.py`), in words.
HEADS = {
    "CANCELLED": "the run was stopped",
    "NOT_HOME": "the arm did not come home",
    "RESET_REJECTED": "the supervisor refused the way home",
    "REWARD_UNKNOWN": "nobody could judge it",
    "SCENE_NOT_RESET": "the objects were not put back",
    "SKIPPED": "nothing was left to do",
    START_CODE: "the safety supervisor was started again",
}


@dataclass
class LatestProblem:
    """Joins what the supervisor says of a stop with what the manager says of the episode.

    Either may come first; both name the cause by the same code.
    """

    at: str = ""
    _latch: tuple[str, str] = ("", "")
    _is_latched: bool = False
    _episode: str = ""
    _reason: str = ""
    _said_by: str = ""
    _unexplained: str = ""

    def on_stop(self, latched: bool, code: str, message: str, at: str) -> None:
        """The software stop spoke; `at` is the time of day, `message` its sentence."""
        begins = latched and (not self._is_latched or code != self._latch[0])
        self._is_latched = latched
        if not begins or code == START_CODE:  # every supervisor begins that way
            return
        self._latch = code, message
        if code != self._unexplained:
            self._episode = ""
        self._unexplained, self.at = "", at

    def on_end(self, episode: Episode, at: str) -> None:
        """An episode has ended; only one that went wrong counts."""
        aborted = episode.outcome == EpisodeOutcome.ABORTED
        if not aborted and (episode.labelled_by or not episode.reason):
            return
        what = "was aborted" if aborted else "failed by what the policy asked for"
        self._episode = f"{episode.episode_id} {what}"
        self._reason, self._said_by, self.at = episode.reason, episode.labelled_by, at
        explained = self._is_latched and episode.reason == self._latch[0]
        self._unexplained = "" if explained else episode.reason

    @property
    def text(self) -> str:
        """What went wrong last, and why; "" when nothing did."""
        if self._episode:
            return f"{self._episode}: {self._why()}"
        code, message = self._latch
        return _stop(code, message) if code else ""

    def _why(self) -> str:
        code, message = self._latch
        return in_words(self._reason, self._said_by, message if self._reason == code else "")


def in_words(reason: str, labelled_by: str = "", message: str = "") -> str:
    """Why an episode was aborted.

    Args:
        reason: The code in its ENDED event.
        labelled_by: The person who said so, if it was one.
        message: What the supervisor said, if it was a stop.
    """
    if labelled_by:
        return f"{labelled_by} said so"
    head, _, rest = reason.partition(": ")
    if head.startswith("SILENT "):
        return f"{head.removeprefix('SILENT ')} is silent, {rest}"
    if head in HEADS:
        return f"{HEADS[head]}, {rest}" if rest else HEADS[head]
    return _stop(head, message)


def _stop(code: str, message: str) -> str:
    text = f"the software stop latched ({code})"
    return f"{text}. {message}" if message else text
