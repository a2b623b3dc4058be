"""The site's own clicks, out of its database in pieces, in the form that a file of events has too.

Rejected: one query for all of them, whose result a client of MySQL keeps in memory as a whole.

    for block in read_site(engine, since):
        events.add(block)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
from sqlalchemy import Engine

from tidings.importing.event_rows import NO_SESSION, EventBlock
from tidings.reading.acts import Action
from tidings.reading.contexts import context_of
from tidings.reading.stored import Clicked, clicks_since


def read_site(engine: Engine, since: datetime) -> Iterator[EventBlock]:
    """Every click from `since` on that was not taken back, oldest first."""
    with engine.connect() as conn:
        for piece in clicks_since(conn, since):
            yield _block(piece)


def _block(clicks: Sequence[Clicked]) -> EventBlock:
    number = len(clicks)
    contexts = [context_of(click.context) for click in clicks]
    return EventBlock(
        lines=np.arange(1, number + 1, dtype=np.int64),
        at_ms=np.array([click.at_ms for click in clicks], np.int64),
        readers=np.array([click.reader_id for click in clicks], np.int64),
        articles=np.array([click.article_id for click in clicks], np.int64),
        actions=np.full(number, Action.CLICK, np.uint8),
        sessions=np.full(number, NO_SESSION, np.int64),
        devices=np.array([context.device for context in contexts], np.uint8),
        referrers=np.array([context.referrer for context in contexts], np.uint8),
        rejects=(),
        last_line=number,
    )
