"""Three ways into the database, because three kinds of waiting must not wait for each other.

Batches get connections whose transaction the server ends after five idle seconds: a daemon that is
frozen in the middle of one must not keep orders locked. The look gives up after two, since the
watching thread ends a process that has not looked for five. Everything else, long jobs among it,
uses the ordinary engine.

    engines = make_engines(settings, batch_connections=5)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event

from tidings.process.settings import Settings
from tidings.store.engine import make_engine

IDLE_TRANSACTION_S = 5
LOOK_TIMEOUT_S = 2


@dataclass(frozen=True, slots=True)
class Engines:
    """`work` for static jobs, `batch` for delayed ones, `look` for the scheduler's thread."""

    work: Engine
    batch: Engine
    look: Engine

    def dispose(self) -> None:
        for engine in (self.work, self.batch, self.look):
            engine.dispose()


def make_engines(settings: Settings, *, batch_connections: int) -> Engines:
    """Engines that connect on first use."""
    database = settings.database
    batch = make_engine(database.model_copy(update={"pool_size": batch_connections}))
    if batch.dialect.name != "sqlite":
        event.listen(batch, "connect", _limit_idle_transactions)
    quick = {
        "pool_size": 2,
        "pool_timeout_s": 1,
        "connect_timeout_s": LOOK_TIMEOUT_S,
        "read_timeout_s": LOOK_TIMEOUT_S,
    }
    look = make_engine(database.model_copy(update=quick))
    return Engines(work=make_engine(database), batch=batch, look=look)


def _limit_idle_transactions(connection: Any, _record: Any) -> None:
    # MySQL has no such limit for transactions alone; there an idle connection of any kind is cut
    # off a little later.
    is_mariadb = "MariaDB" in connection.get_server_info()
    limit = f"idle_transaction_timeout={IDLE_TRANSACTION_S}" if is_mariadb else "wait_timeout=15"
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION {limit}")
