"""Closes the sockets whose key was revoked or has expired, within half a minute.

A ticket is looked at once, and a socket may live for days. Each sweep asks the database once for
all keys that have sockets here. Rejected: to ask at each frame; a socket that only listens would
keep its key for ever.

    sweep = KeySweep(engine, sessions, every_s=25)
    sweep.look()  # again and again, in one coroutine
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import Counter
from sqlalchemy import Engine

from services.chat.closing import Closing
from services.chat.hosting import Listener
from tidings.readers.keys import find_good_keys

_REVOKED = Counter("tidings_chat_revoked", "Sockets closed since their key opens no door any more")


class KeySweep:
    """One for a node.

    Args:
        listeners: all that are connected here.
    """

    def __init__(self, engine: Engine, listeners: Iterable[Listener], *, every_s: float) -> None:
        self._engine = engine
        self._listeners = listeners
        self._every_s = every_s

    def look(self) -> None:
        """Close those whose key is no good any more, after a pause.

        Raises:
            SQLAlchemyError: the database is away, so none is closed.
        """
        time.sleep(self._every_s)
        with_key = [listener for listener in self._listeners if listener.key_id is not None]
        if not with_key:
            return
        with self._engine.connect() as conn:
            good = find_good_keys(conn, {listener.key_id or 0 for listener in with_key})
        for listener in with_key:
            if listener.key_id not in good:
                _REVOKED.inc()
                listener.close(Closing.NOT_ADMITTED)
