"""Batches of a reader that Redis no longer has: those that were seen are in SQL, a row each.

A reader's state in Redis has a bound, and somebody who pages back for long comes past it. Rejected:
a larger bound, which every reader would pay for and few would use.

    OlderPages(engine).before(state, reader_id=7, channel_id=10, at_ms=stamp_ms)
"""

from __future__ import annotations

import structlog
from prometheus_client import Counter
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from tidings.reading.events import unpack_ids
from tidings.reading.packed import Batch
from tidings.reading.reader_state import ReaderState
from tidings.reading.tables import exposure

# The page that is asked for, and the stamp of the one before it.
NEEDED = 2

log = structlog.get_logger(__name__)
FAILURES = Counter(
    "tidings_older_pages_failures_total", "Pages of history that SQL could not be asked for"
)


class OlderPages:
    """Fills a reader's state up with older batches of a channel."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def before(
        self, state: ReaderState, reader_id: int, channel_id: int, *, at_ms: int
    ) -> ReaderState:
        """The state with the two newest batches up to `at_ms` that were seen in the channel, where
        Redis has fewer and has forgotten some. For looking a page up, not for recording.

        A database that does not answer is counted, and leaves the state as it is.
        """
        of_channel = [one for one in state.batches if one.channel_id == channel_id]
        kept = [one for one in of_channel if one.stamp_ms <= at_ms]
        if not state.older or len(kept) >= NEEDED:
            return state
        first_ms = min(at_ms + 1, *(one.stamp_ms for one in state.batches), 2**63 - 1)
        try:
            found = self._read(reader_id, channel_id, first_ms)
        except (SQLAlchemyError, TypeError) as ex:  # or a row holds text where ids should be
            FAILURES.inc()
            log.warning("older_pages_not_read", reader_id=reader_id, error=repr(ex))
            return state
        return ReaderState(state.version, [*found, *state.batches], older=state.older)

    def _read(self, reader_id: int, channel_id: int, before_ms: int) -> list[Batch]:
        mine = exposure.c
        query = (
            select(mine.batch_stamp, mine.article_ids, mine.sources, mine.variant, mine.context)
            .where(
                mine.reader_id == reader_id,
                mine.channel_id == channel_id,
                mine.batch_stamp < before_ms,
            )
            .order_by(mine.batch_stamp.desc())
            .limit(NEEDED)
        )
        with self._engine.connect() as conn:
            rows = conn.execute(query).all()
        batches = []
        for row in reversed(rows):
            ids = unpack_ids(row.article_ids)
            # An old row knows no sources.
            sources = row.sources[: len(ids)].ljust(len(ids), b"\0")
            batches.append(
                Batch(channel_id, row.batch_stamp, ids, sources, row.variant, row.context)
            )
        return batches
