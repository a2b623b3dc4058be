"""A transaction of its own, run again where another one was faster.

Two processes may open the same channel, or start the same conversation, at the same instant: the
second one violates a key, and finds on its next look what the first one stored. Deadlocks, full
pools and lost connections pass the same way. Rejected: INSERT IGNORE; it hides every other
violation too.

    sent = transact(engine, lambda conn: send_many(conn, sends))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine

from tidings.store.engine import transaction
from tidings.store.retry import is_overtaken, run_again

T = TypeVar("T")


def transact(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Do `work` in a transaction of its own, and again while it fails for a reason that passes.

    Raises:
        Exception: `work` raised it; nothing is stored.
        SQLAlchemyError: the database cannot do it now, or another was in the way every time.
    """

    def once() -> T:
        with transaction(engine) as conn:
            return work(conn)

    return run_again(once, passes=is_overtaken)
