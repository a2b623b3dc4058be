"""Keeps SQL from holding the sockets up: before each statement the loop looks at them.

gevent switches where a socket has to be waited for. Where the database is quick, its answers are
there already, and a transaction of ten statements runs through as one: for four milliseconds no
client is heard and nothing of the bus is told, which was a third of a busy node's time. Rejected:
`time.sleep(0)`, which lets those run that are ready and looks at no socket; and to give way only
after a millisecond, by the loop's clock, which is not quicker and saves nothing that was measured.

    give_way(engine)
"""

from __future__ import annotations

import os
from typing import Any

from gevent.socket import wait_write
from sqlalchemy import Engine, event

# A pipe that nobody reads or writes can always be written to: who waits for that comes back when
# the loop has looked at all sockets once.
_UNREAD, _ALWAYS_READY = os.pipe()


def give_way(engine: Engine) -> None:
    """Have each statement of this engine wait until the sockets were looked at.

    SQLite is left as it is: it has one writer, and whoever gave way in the middle of a transaction
    would keep all others from theirs meanwhile.
    """
    if engine.dialect.name != "sqlite":
        event.listen(engine, "before_cursor_execute", _look_at_sockets)


def _look_at_sockets(*_: Any) -> None:
    wait_write(_ALWAYS_READY)
