"""Says how far a training has come, how long it took and how much memory it takes.

Lines rather than a bar: they are as good in the history of the nightly job as on a terminal.

    progress = Progress(click.echo)
    progress.say("1000 lists of candidates")  # "  12 s   310 MiB  1000 lists of candidates"
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

SAY_EVERY_S = 5.0


class Progress:
    """Lines about what is done, each with the seconds since the start and the most memory taken."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._started_s = self._said_s = time.monotonic()

    def say(self, text: str) -> None:
        """A line about something that is done."""
        self._said_s = time.monotonic()
        memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        self._show(f"{self._said_s - self._started_s:6.0f} s {memory_mib:6} MiB  {text}")

    def say_now_and_then(self, text: str) -> None:
        """A line about something that goes on, every few seconds."""
        if time.monotonic() - self._said_s >= SAY_EVERY_S:
            self.say(text)
