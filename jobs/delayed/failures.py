"""Tells errors that pass (go again) from errors that stay (somebody's fault).

PyMySQL calls every code it has no name for an OperationalError, a violated CHECK among them, so the
class says nothing: the code decides. Rejected: retrying whatever looks like the database; a
poisoned row would be tried for ever.
"""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_MYSQL = {
    1020: "deadlock",  # the row changed since it was read
    1205: "lock_wait",
    1213: "deadlock",
    1040: "refused",  # too many connections
    1203: "refused",
    1226: "refused",
    1290: "read_only",
    1792: "read_only",
    1836: "read_only",
    1053: "connection",  # shutting down
    1158: "connection",
    1159: "connection",
    1160: "connection",
    1161: "connection",
    1317: "connection",  # the query was killed
    1927: "connection",  # the connection was killed
    2002: "connection",
    2003: "connection",
    2006: "connection",
    2013: "connection",
    2055: "connection",
    4031: "connection",  # idle for too long
}
# Primary result codes; sqlite3.SQLITE_BUSY and so on.
_SQLITE = {5: "lock_wait", 6: "lock_wait", 8: "read_only", 10: "disk", 13: "disk", 14: "disk"}


def is_passing(ex: SQLAlchemyError) -> str | None:
    """A word for the cause if trying again may help without anybody changing anything; None
    otherwise."""
    if isinstance(ex, PoolTimeout):
        return "pool"
    if not isinstance(ex, DBAPIError):
        return None
    if ex.connection_invalidated:
        return "connection"
    sqlite_code = getattr(ex.orig, "sqlite_errorcode", None)
    if sqlite_code is not None:
        return _SQLITE.get(sqlite_code & 0xFF)
    arguments = getattr(ex.orig, "args", ())
    return _MYSQL.get(arguments[0]) if arguments and isinstance(arguments[0], int) else None
