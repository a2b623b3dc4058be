"""Tells a key from what is none, for every request that brings one.

What a key is worth is read from the database at most once a second in each process: so long a
revoked key may still open the door, and so seldom does the door cost a query. All that is wrong
with a key is one error, found by the same work, so that its answer and its time tell no stranger
which beginnings exist. That a key was used is written by a thread of its own, at most once a minute
a key: a database that is locked delays no request. While the database does not answer, one caller a
second waits for it, and the others are told at once. Rejected: last uses in Redis, from which a job
would have to bring them into the table.

    keys = KeyCheck(engine)
    keys.find("tk_09f3…_…")  # Key(key_id=1, name="importer", role=<Role.AUTHOR: 'author'>, …)
"""

from __future__ import annotations

import hmac
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import structlog
from prometheus_client import Counter
from sqlalchemy import Engine, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from tidings.process.breaker import Breaker
from tidings.process.clock import moment
from tidings.process.deadline import DeadlineExceededError
from tidings.readers.keys import Key, Role, State, hash_key, tell_state
from tidings.readers.tables import api_key
from tidings.store.engine import database_now, transaction

REMEMBERED_S = 1.0
# A database that hangs costs a request all of its time, so the first failure is enough.
REST_S = 1.0
# To find a row by its unique name takes milliseconds.
HANGS_S = 0.1
# Of keys and of what is none; a stranger can invent any number of beginnings.
MOST_REMEMBERED = 1024
NOTED_EVERY = timedelta(minutes=1)
_FORM = re.compile(r"(tk_[0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)
_NO_HASH = hash_key("")

UNWRITTEN = Counter("tidings_key_uses_unwritten", "Uses of keys that could not be written down")
log = structlog.get_logger(__name__)


class KeyRefusedError(Exception):
    """It is no key, or one that is revoked or has expired; which of these is not told."""

    def __init__(self) -> None:
        super().__init__("the key is unknown, revoked or expired")


class KeyUntoldError(Exception):
    """The database does not answer, so no key can be told.

    Attributes:
        was_good: this process has known it as one that opens the door.
    """

    def __init__(self, *, was_good: bool) -> None:
        super().__init__("no key can be told while the database does not answer")
        self.was_good = was_good


@dataclass(slots=True)
class _Stored:
    """A row, as it was at `read_s` on the monotonic clock; `key` is None where there is none."""

    read_s: float
    key: Key | None = None
    hash: str = _NO_HASH
    is_over: bool = True
    is_use_due: bool = False


class KeyCheck:
    """Checks keys against the database; one object for all threads of a process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._remembered: dict[str, _Stored] = {}
        self._lock = threading.Lock()
        self._breaker = Breaker(opens_after=1, rest_s=REST_S)
        # Its thread starts with the first use, so that nothing starts before a fork.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="key-uses")
        self._to_write: set[int] = set()

    def find(self, text: str) -> Key:
        """The key that `text` is.

        Raises:
            KeyRefusedError: it is none that opens a door.
            KeyUntoldError: the database does not answer.
            DeadlineExceededError: there was no time left to ask it.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise KeyRefusedError
        prefix = found[1]
        known = self._remembered.get(prefix)
        is_fresh = known is not None and time.monotonic() - known.read_s < REMEMBERED_S
        stored = known if is_fresh else self._find_stored(prefix)
        if stored is None:
            raise KeyUntoldError(was_good=_open(known or _Stored(read_s=0), text) is not None)
        key = _open(stored, text)
        if key is None:
            raise KeyRefusedError
        if stored.is_use_due:
            stored.is_use_due = False
            self._have_use_written(key.key_id)
        return key

    def _find_stored(self, prefix: str) -> _Stored | None:
        """What the database has of it now; None where it does not answer."""
        if not self._breaker.allows():
            return None
        begun_s = time.monotonic()
        try:
            stored = self._read(prefix)
        except (SQLAlchemyError, DeadlineExceededError) as ex:
            # A request that came with hardly any time left says nothing of the database.
            waited_s = time.monotonic() - begun_s
            if isinstance(ex, DeadlineExceededError) and waited_s < HANGS_S:
                raise
            self._breaker.failed()
            log.warning("keys_untold", error=repr(ex))
            return None
        self._breaker.succeeded()
        with self._lock:
            # Taken out first: a dict keeps the place of a key that it has already.
            self._remembered.pop(prefix, None)
            self._remembered[prefix] = stored
            if len(self._remembered) > MOST_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
        return stored

    def _read(self, prefix: str) -> _Stored:
        # Before it is read, or what is revoked meanwhile would be good for longer.
        stored = _Stored(read_s=time.monotonic())
        with self._engine.connect() as conn:
            now = database_now(conn).label("now")
            row = conn.execute(select(api_key, now).where(api_key.c.prefix == prefix)).first()
        if row is not None:
            stored.key = Key(row.id, row.name, Role(row.role), row.quota)
            stored.hash = row.hash
            stored.is_over = tell_state(row) is not State.GOOD
            stored.is_use_due = (row.last_used_at or moment(0)) <= row.now - NOTED_EVERY
        return stored

    def _have_use_written(self, key_id: int) -> None:
        with self._lock:
            if key_id in self._to_write:
                return
            self._to_write.add(key_id)
        try:
            self._writer.submit(self._write_use, key_id)
        except RuntimeError:  # this process is ending, and takes no more work
            self._to_write.discard(key_id)

    def _write_use(self, key_id: int) -> None:
        try:
            with transaction(self._engine) as conn:
                now = conn.execute(select(database_now(conn))).scalar_one()
                last_used_at = api_key.c.last_used_at
                is_due = or_(last_used_at.is_(None), last_used_at <= now - NOTED_EVERY)
                conn.execute(
                    update(api_key).where(api_key.c.id == key_id, is_due).values(last_used_at=now)
                )
        except Exception as ex:  # noqa: BLE001 - the key is good all the same; counted and logged
            UNWRITTEN.inc()
            log.warning("key_use_not_written", key_id=key_id, error=repr(ex))
        finally:
            self._to_write.discard(key_id)


def _open(stored: _Stored, text: str) -> Key | None:
    """The key of this row, if `text` is it and opens the door."""
    is_right = hmac.compare_digest(hash_key(text), stored.hash)
    return None if stored.is_over or not is_right else stored.key
