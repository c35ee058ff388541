"""Cut off the end of a training episode that has ended, or take that back."""

from __future__ import annotations

from pathlib import Path

from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.types import EpisodeOutcome, Phase
from tmrl_ros.data.trims import Trim, append_trim, read_trims
from tmrl_ros.session.records import EpisodeRecord, logged_records
from tmrl_ros.session.seeds import PHASE_NAMES

MAY_BECOME = ("success", "failure", "timeout")


def trim_episode(
    session: Path, name: str, decisions: int | None, *, outcome: str = "", by: str = "operator"
) -> str:
    """Write a cut into the session; a running learner, a resume and the report follow it.

    Args:
        session: Folder of the session, whose graph need not run.
        name: A training episode that has ended.
        decisions: How many of its decisions are kept; None takes an earlier cut back.
        outcome: One of `MAY_BECOME`, how it ended there; "" as it had ended.
        by: Who says so.

    Returns:
        What was done, in a sentence.

    Raises:
        OperatorError: There is no such episode, nothing is learned from it, or it is not so long.
        OSError: The file system refuses.
    """
    record = _record(session, name)
    if outcome and outcome not in MAY_BECOME:
        raise OperatorError(f"{outcome!r} is no outcome of a cut: take {', '.join(MAY_BECOME)}.")
    said = EpisodeOutcome[record.outcome.upper()], record.labelled_by
    if decisions is None:
        if name not in read_trims(session):
            raise OperatorError(f"Episode {name} has not been cut: there is nothing to take back.")
        append_trim(session, Trim(name, None, by, replaced=said))
        return f"Episode {name} counts as it was recorded: {record.decisions} decisions."
    if not 1 <= decisions <= record.decisions:
        raise OperatorError(
            f"{decisions} decisions cannot be kept of {name}: it has {record.decisions}, "
            f"give a number from 1 to {record.decisions}."
        )
    new = EpisodeOutcome[outcome.upper()] if outcome else EpisodeOutcome.NONE
    append_trim(session, Trim(name, decisions, by, new, said))
    now = outcome or record.outcome
    return f"Episode {name} ends after {decisions} of {record.decisions} decisions, as {now}."


def _record(session: Path, name: str) -> EpisodeRecord:
    training = PHASE_NAMES[Phase.TRAIN]
    found = [record for record in logged_records(session) if record.episode_id == name]
    if not found:
        raise OperatorError(
            f"Session {session} has no episode {name!r} that has ended: its log, episodes.jsonl, "
            "names them."
        )
    record = found[-1]
    if record.phase != training:
        raise OperatorError(
            f"Nothing is learned from {name}, only from episodes called {training}_...: to give it "
            "another outcome, take `tmrl label`."
        )
    if record.aborted:
        raise OperatorError(f"Nothing is learned from {name}: it was aborted.")
    return record
