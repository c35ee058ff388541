"""`tmrl label trim`: cut off the end of a training episode; a running learner follows by itself."""

from __future__ import annotations

import argparse

from tmrl_ros.cli.session_folder import find_session, newest_session
from tmrl_ros.core.errors import ConfigurationError, OperatorError
from tmrl_ros.session.trimming import trim_episode


def trim(args: argparse.Namespace) -> int:
    """Cut an episode of a session, by default of the one that runs or else the newest.

    Raises:
        OperatorError: Something is missing in the command, or the episode cannot be cut so.
    """
    if not args.episode:
        raise ConfigurationError("`tmrl label trim` needs the episode: --episode train_000012.")
    if args.undo == (args.decisions is not None):
        raise ConfigurationError(
            "`tmrl label trim` needs either --decisions, how many are kept, or --undo."
        )
    running = newest_session(running=True)
    folder = find_session(args.session) if args.session else running or newest_session()
    if folder is None:
        raise ConfigurationError("There is no session in sessions/: name one with --session.")
    try:
        print(
            trim_episode(
                folder, args.episode, args.decisions, outcome=args.became or "", by=args.by
            )
        )
    except OSError as error:
        raise OperatorError(f"{folder} cannot be written ({error.strerror}).") from None
    return 0
