"""Brings back from SQL what a reader hid, once, where their state in Redis is not there.

A state ends after a month without a visit, and with a Redis that is lost; what a reader does not
want to see must not come back with that. A first visit looks the same, so it costs one look as
well. Rejected: asking SQL with each feed, for what is in Redis nearly always.

    restore = HiddenInSql(engine, redis, notes)
    restore(reader_id, state).hidden.authors
"""

from __future__ import annotations

from dataclasses import replace

import structlog
from redis import Redis
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from tidings.reading.acts import Action
from tidings.reading.events import Target
from tidings.reading.marks import list_marks
from tidings.reading.noting import HIDDEN_KEPT, Hideable, ReaderNotes
from tidings.reading.reader_state import Hidden, ReaderState

log = structlog.get_logger(__name__)


class HiddenInSql:
    """Called with a state that was found empty."""

    def __init__(self, engine: Engine, redis: Redis, notes: ReaderNotes) -> None:
        self._engine = engine
        self._redis = redis
        self._notes = notes

    def __call__(self, reader_id: int, state: ReaderState) -> ReaderState:
        """The state with what SQL knows to be hidden, which is in Redis again then.

        A database that is away is told in the log: the feed is served without.
        """
        try:
            with self._engine.connect() as conn:
                marks = list_marks(conn, reader_id, Action.DISLIKE, limit=HIDDEN_KEPT)
        except SQLAlchemyError as ex:
            log.warning("hidden_not_restored", reader_id=reader_id, error=repr(ex))
            return state
        if not marks:
            return state
        with self._redis.pipeline(transaction=False) as pipe:
            for marked in reversed(marks):
                self._notes.hide(pipe, reader_id, Hideable(marked.target), marked.target_id)
            pipe.execute()
        found = {
            target: frozenset(marked.target_id for marked in marks if marked.target is target)
            for target in Target
        }
        hidden = Hidden(
            state.hidden.articles | found[Target.ARTICLE],
            state.hidden.authors | found[Target.AUTHOR],
            state.hidden.channels | found[Target.CHANNEL],
        )
        return replace(state, hidden=hidden)
