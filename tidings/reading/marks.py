"""What readers marked: liked, saved, hidden; asked by the reader's own pages.

Marks are written by `storing`, in the order of the behaviour log. A list pages by the moment and
the number of its last mark, so that what is marked or taken back meanwhile moves nothing. Rejected:
keeping the lists in Redis, where they would end with the reader's state.

    with engine.connect() as conn:
        find_marks_on(conn, reader_id=7, article_id=12)  # {<Action.LIKING: 5>}
        list_marks(conn, 7, Action.LIKING, limit=20)
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, and_, or_, select

from tidings.reading.acts import Action
from tidings.reading.events import Target
from tidings.reading.tables import mark


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


_ACTIONS = {action.value: action for action in Action}
