"""What readers marked: liked, saved, hidden; asked by the reader's own pages.

Marks are written by `storing`, in the order of the behaviour log, a moment after they are durable.
What a reader marked just now stands in their own state, so an article is asked for there first; a
list may be that moment behind. A list pages by the moment and the number of its last mark, so that
what is marked or taken back meanwhile moves nothing. Rejected: keeping the lists in Redis, where
they would end with the reader's state.

    marks = Marks(engine, redis)
    marks.find_on(reader_id=7, article_id=12)  # {<Action.LIKING: 5>}
    marks.find_all(7, Action.LIKING, limit=20)
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import structlog
from redis import Redis, RedisError
from sqlalchemy import Connection, Engine, and_, or_, select

from tidings.reading.acts import Action
from tidings.reading.events import MARKS, Target
from tidings.reading.packed import CorruptStateError, unpack_standing
from tidings.reading.tables import mark
from tidings.store.keys import READER

log = structlog.get_logger(__name__)
_ACTIONS = {action.value: action for action in Action}


class Marked(NamedTuple):
    """A mark that is set: on what, and since when."""

    target: Target
    target_id: int
    since: datetime


class After(NamedTuple):
    """Where a list goes on: after the last mark of the page before."""

    since: datetime
    target: int
    target_id: int


class Marks:
    """Asks for marks; one object for all threads."""

    def __init__(self, engine: Engine, redis: Redis) -> None:
        self._engine = engine
        self._redis = redis

    def find_on(self, reader_id: int, article_id: int) -> set[Action]:
        """What this reader marked of this article."""
        latest = self._find_latest(reader_id, article_id)
        with self._engine.connect() as conn:
            stored = find_marks_on(conn, reader_id, article_id)
        return {action for action in MARKS if latest.get(action, action in stored)}

    def find_all(
        self, reader_id: int, action: Action, *, limit: int, after: After | None = None
    ) -> list[Marked]:
        """A reader's marks of this kind, the newest first."""
        with self._engine.connect() as conn:
            return list_marks(conn, reader_id, action, limit=limit, after=after)

    def _find_latest(self, reader_id: int, article_id: int) -> dict[Action, bool]:
        """What the reader's state says of this article: set, or taken back."""
        try:
            raw = self._redis.hget(READER.of(reader_id), "acts")
            standing = unpack_standing(raw or b"")  # type: ignore[arg-type]
        except (RedisError, CorruptStateError) as ex:
            log.warning("latest_marks_not_read", error=repr(ex))
            return {}
        return {action: is_set for (action, id_), is_set in standing.items() if id_ == article_id}


def find_marks_on(conn: Connection, reader_id: int, article_id: int) -> set[Action]:
    """What this reader marked of this article."""
    mine = mark.c
    query = select(mine.kind).where(
        mine.reader_id == reader_id,
        mine.target == int(Target.ARTICLE),
        mine.target_id == article_id,
        mine.is_set == 1,
    )
    return {_ACTIONS[kind] for kind in conn.scalars(query)}


def list_marks(
    conn: Connection, reader_id: int, action: Action, *, limit: int, after: After | None = None
) -> list[Marked]:
    """A reader's marks of this kind, the newest first."""
    mine = mark.c
    query = select(mine.target, mine.target_id, mine.since).where(
        mine.reader_id == reader_id, mine.kind == int(action), mine.is_set == 1
    )
    if after is not None:
        query = query.where(
            or_(
                mine.since < after.since,
                and_(mine.since == after.since, mine.target < after.target),
                and_(
                    mine.since == after.since,
                    mine.target == after.target,
                    mine.target_id < after.target_id,
                ),
            )
        )
    newest_first = (mine.since.desc(), mine.target.desc(), mine.target_id.desc())
    rows = conn.execute(query.order_by(*newest_first).limit(limit))
    return [Marked(Target(row.target), row.target_id, row.since) for row in rows]
