"""Ends the following of readers of whom one may not know any more whether they are there.

A reader may block another, or leave the only conversation of the two, at any node or at the
gateway. So it is asked again and again, of all who follow a reader here, by one statement for a
hundred of them. It has a coroutine of its own: a database that is away stops no sweep of presence,
and while it is away no one can block or leave. Rejected: to tell it to the nodes by the bus; a
block is told to no other, and an entry that was lost would leave presence open for ever.

    sweep = FollowSweep(engine, hub, every_s=25)
    sweep.look()  # again and again, in one coroutine
"""

from __future__ import annotations

import time

from prometheus_client import Counter
from sqlalchemy import Engine

from services.chat.hub import Hub
from services.chat.live import PRESENCE, presence_topic
from tidings.talk.members import find_sharing

# In the worst case they are members of one group, and each pair is looked at among all of them:
# ten thousand rows by the primary key, some ten milliseconds.
AT_ONCE = 100
_WITHDRAWN = Counter("tidings_chat_withdrawn", "Readers whose presence may be followed no more")


class FollowSweep:
    """One for a node."""

    def __init__(self, engine: Engine, hub: Hub, *, every_s: float) -> None:
        self._engine = engine
        self._hub = hub
        self._every_s = every_s

    def look(self) -> None:
        """Have those follow a reader no more who may not, after a pause.

        Raises:
            SQLAlchemyError: the database is away; those who were not looked at are looked at next.
        """
        time.sleep(self._every_s)
        followed = [
            (listener, reader_id)
            for reader_id, listeners in self._hub.followed(PRESENCE).items()
            for listener in listeners
        ]
        for begin in range(0, len(followed), AT_ONCE):
            part = followed[begin : begin + AT_ONCE]
            with self._engine.connect() as conn:
                sharing = find_sharing(conn, {(one.reader_id, other) for one, other in part})
            for listener, reader_id in part:
                if (listener.reader_id, reader_id) not in sharing:
                    _WITHDRAWN.inc()
                    self._hub.unsubscribe(listener, presence_topic(reader_id))
