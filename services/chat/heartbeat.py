"""Finds the sockets whose client is gone without a word: one coroutine pings them all.

A telephone that lost its network sends nothing more, and a connection through a router that forgot
it looks open for hours. Each socket is asked once in a period, at a moment of its own, so that ten
thousand answers do not come at once; one that said nothing for two periods and more is closed. One
that has not said hello yet is the door's to give up, with a close that says why.
Rejected: the keep-alive of TCP, which a proxy answers for a client that is gone.

    heartbeat = Heartbeat(door, ping_every_s=25, dead_after_s=60)
    Watched("heartbeat", heartbeat.beat).start()
"""

from __future__ import annotations

import time

from services.chat.closing import Closing
from services.chat.door import Door
from services.chat.session import Session

# Of the sockets of a node, a fiftieth is asked at a time: twice a second with the usual period.
_PARTS = 50
_AT_ONCE = 200


class Heartbeat:
    """Args:
    ping_every_s: the period.
    dead_after_s: silence that ends a socket.
    """

    def __init__(self, door: Door, *, ping_every_s: float, dead_after_s: float) -> None:
        self._door = door
        self._pause_s = ping_every_s / _PARTS
        self._dead_after_s = dead_after_s
        self._part = 0

    def beat(self) -> None:
        """Ask the next part, then wait for the moment of the one after it."""
        # Where a session lies in memory is as good as chance.
        asked = [
            one for one in self._door.all if one.reader_id and (id(one) >> 6) % _PARTS == self._part
        ]
        for number, session in enumerate(asked, start=1):
            self._ask(session)
            if number % _AT_ONCE == 0:
                time.sleep(0)
        self._part = (self._part + 1) % _PARTS
        time.sleep(self._pause_s)

    def _ask(self, session: Session) -> None:
        if time.monotonic() - session.heard_s > self._dead_after_s:
            session.close(Closing.SILENT)
        else:
            session.ping()
