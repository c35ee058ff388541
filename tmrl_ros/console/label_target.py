"""Which episode a person means who presses SUCCESS or FAILURE without naming one."""

from __future__ import annotations

from dataclasses import dataclass

from tmrl_ros.core.types import Episode, EpisodeState


@dataclass
class LabelTarget:
    """The running episode, or else the latest that has ended; "" before the first."""

    _running: str = ""
    _ended: str = ""

    def on_episode(self, event: Episode) -> None:
        """An episode changed; another label for an earlier one is no end of the running one."""
        if event.state in (EpisodeState.READY, EpisodeState.RUNNING):
            self._running = event.episode_id
        elif event.state is EpisodeState.ENDED:
            if self._running and event.episode_id != self._running:
                return
            self._running, self._ended = "", event.episode_id
        else:
            self._running = ""

    @property
    def name(self) -> str:
        """Name of the episode."""
        return self._running or self._ended
