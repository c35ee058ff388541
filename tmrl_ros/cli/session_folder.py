"""The folder of a session: a new one, or one that is continued. One launcher at a time holds it."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tmrl_ros.core.collect_config import PERSON
from tmrl_ros.core.config import Config, SessionConfig
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.hosts import ROBOT
from tmrl_ros.core.load import (
    change_config,
    load_config,
    other_method,
    read_config,
    write_config,
)
from tmrl_ros.core.types import Phase
from tmrl_ros.session.records import load_records
from tmrl_ros.session.seeds import PHASE_NAMES

SESSIONS = Path("sessions")
CONFIG_FILE, STATUS_FILE, LOCK_FILE = "config.yaml", "status.json", ".lock"
CHECKPOINTS = "checkpoints"
RESUME_MAY_CHANGE = (
    "session.train_episodes",
    "session.max_robot_minutes",
    "session.operator",
    "session.domain_id",
    "session.host",
    "session.localhost_only",
    "session.keys",
    "session.fallback_window",
    "session.fallback_every",
    "session.fallback_episodes",
    "session.console",
    "session.console_address",
    "session.console_port",
    "session.console_latch_s",
    "session.rviz",
    "safety.hold_to_run",
    "teleop.enabled",
    "teleop.max_speed_mps",
)
WARMUP_KEY = "method.warmup_episodes"
TRAIN = PHASE_NAMES[Phase.TRAIN]
BYTES_PER_MB = 1e6


@dataclass
class SessionFolder:
    """A session's folder with its resolved configuration, locked while this object is open."""

    path: Path
    config: Config
    is_new: bool
    _lock: IO[bytes] | None = field(default=None, repr=False)

    @property
    def config_file(self) -> Path:
        """Resolved configuration, which every node reads."""
        return self.path / CONFIG_FILE

    def open(self) -> None:
        """Create the folder, lock it and write the configuration.

        Raises:
            ConfigurationError: The folder cannot be written, or another launcher holds it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / LOCK_FILE).open("ab")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.is_new and self.config_file.exists():
                raise BlockingIOError
            write_config(self.config, self.config_file)
        except BlockingIOError:
            self.close()
            raise ConfigurationError(
                f"session.dir={self.path} is in use by a run that has not ended: stop that one."
            ) from None
        except OSError as error:
            self.close()
            raise ConfigurationError(
                f"session.dir={self.path} cannot be written ({error.strerror}): name another."
            ) from None

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def discard(self) -> None:
        """Remove a new folder in which nothing was started."""
        self.close()
        if self.is_new:
            shutil.rmtree(self.path, ignore_errors=True)


def session_for(kind: str, overrides: Sequence[str], resume: str | None = None) -> SessionFolder:
    """Folder and configuration of a run: a new session, or with `resume` one that goes on.

    Raises:
        ConfigurationError: Something is wrong with what was asked, in one sentence.
    """
    if resume:
        session = resumed_session(resume, overrides, kind=kind)
        known = (session.path / CHECKPOINTS).is_dir()
    else:
        session, known = new_session(overrides, kind=kind), False
    method = session.config.method
    if method.name == PERSON and kind != "collect":
        raise ConfigurationError(
            f"method={PERSON} is for collecting demonstrations: `tmrl collect`, not {kind}."
        )
    learner_elsewhere = session.config.session.host == ROBOT
    if kind == "deploy" and method.learns and not known and not learner_elsewhere:
        raise ConfigurationError(
            f"deploy with method={method.name} needs a session that has learned, and "
            f"{shown(session.path)} has nothing in {CHECKPOINTS}/: name a session with --resume, "
            "or take method=base."
        )
    return session


def new_session(overrides: Sequence[str], *, kind: str = "finetune") -> SessionFolder:
    """Resolve the configuration of a new session and choose its folder.

    Raises:
        ConfigurationError: A wrong override, or a folder that holds something already.
    """
    config = load_config(overrides)
    folder = config.session.dir
    if folder == SessionConfig.model_fields["dir"].default:
        prefix = "" if kind == "finetune" else f"{kind}-"
        folder = _unused(SESSIONS / f"{prefix}{config.task.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    folder = folder.absolute()
    if (folder / CONFIG_FILE).exists():
        raise ConfigurationError(
            f"session.dir={folder} holds another session: continue that one with "
            f"`make finetune RESUME={shown(folder)}`, or name another folder."
        )
    if folder.exists() and (not folder.is_dir() or _has_content(folder)):
        raise ConfigurationError(
            f"session.dir={folder} is not an empty folder: name one that is, or a new one."
        )
    return SessionFolder(folder, _in_folder(config, folder), is_new=True)


def resumed_session(
    session: str, overrides: Sequence[str], *, kind: str = "finetune"
) -> SessionFolder:
    """Read the configuration of a session that is to go on.

    Args:
        session: Its folder, or the name of a folder in `sessions/`.
        overrides: Only keys of `RESUME_MAY_CHANGE`; for `finetune` also another method, which
            learns from all that was recorded before it acts, and so needs no warm-up on the robot.
        kind: What is to be done with it.

    Raises:
        ConfigurationError: There is no such session, or an override may not change.
    """
    folder = find_session(session)
    config = read_config(folder / CONFIG_FILE)
    of_method = [text for text in overrides if kind == "finetune" and _is_of_method(text)]
    if of_method:
        warm = any(record.phase == TRAIN for record in load_records(folder))
        if warm and not any(text.startswith(WARMUP_KEY) for text in of_method):
            of_method.append(f"{WARMUP_KEY}=0")
        config = other_method(config, of_method)
    rest = [text for text in overrides if text not in of_method]
    config = change_config(config, rest, RESUME_MAY_CHANGE)
    return SessionFolder(folder, _in_folder(config, folder), is_new=False)


def _is_of_method(override: str) -> bool:
    return override.partition("=")[0].partition(".")[0] == "method"


def find_session(session: str) -> Path:
    """Folder of a session by path or by its name in `sessions/`.

    Raises:
        ConfigurationError: There is no session there.
    """
    for candidate in (Path(session), SESSIONS / session):
        if (candidate / CONFIG_FILE).is_file():
            return candidate.absolute()
    known = ", ".join(sorted(path.parent.name for path in SESSIONS.glob(f"*/{CONFIG_FILE}")))
    raise ConfigurationError(
        f"There is no session {session!r} (no {CONFIG_FILE} in it): known in {SESSIONS}/ are "
        f"{known or 'none'}."
    )


def newest_session(*, running: bool = False) -> Path | None:
    """Newest folder of `sessions/`, if there is one; with `running` the newest that is in use."""
    found = sorted(SESSIONS.glob(f"*/{CONFIG_FILE}"), key=lambda path: path.stat().st_mtime)
    for path in reversed(found):
        if not running or _is_locked(path.parent):
            return path.parent.absolute()
    return None


def check_disk(folder: SessionFolder) -> None:
    """Refuse to start with a disk that is nearly full.

    Raises:
        ConfigurationError: Naming the free space and the limit.
    """
    free_mb = shutil.disk_usage(folder.path).free / BYTES_PER_MB
    limit_mb = folder.config.recorder.min_free_mb
    if folder.config.recorder.enabled and free_mb < limit_mb:
        raise ConfigurationError(
            f"Only {free_mb:.0f} MB are free where {folder.path} lies, below "
            f"recorder.min_free_mb={limit_mb:g}: free some space or name another session.dir."
        )


def shown(folder: Path) -> Path:
    """The folder as a person would type it: relative when it lies below the working directory."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _in_folder(config: Config, folder: Path) -> Config:
    session = config.session.model_copy(update={"dir": folder})
    return config.model_copy(update={"session": session})


def _unused(folder: Path) -> Path:
    candidates = [folder, *(folder.with_name(f"{folder.name}-{i}") for i in range(2, 100))]
    return next(path for path in candidates if not path.exists())


def _has_content(folder: Path) -> bool:
    return any(item.name != LOCK_FILE for item in folder.iterdir())


def _is_locked(folder: Path) -> bool:
    with contextlib.suppress(OSError), (folder / LOCK_FILE).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
