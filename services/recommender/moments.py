"""What a request's `time_stamp` asks for: a fresh batch, or a page of the reader's history.

The exact stamp of a recorded batch pages back to it. Any other moment of the last hour, and of the
future, is a client that says "now" by a clock of its own, so it gets a fresh batch. Rejected: every
moment up to the newest batch as history, by which a clock 20 ms behind got the page it had just
seen, again and again.

    page = page_asked_for(state, channel_id=10, at_ms=request.time_stamp, now_ms=now_ms())
    page is None  # a fresh batch is to be made
"""

from __future__ import annotations

from typing import NamedTuple

from tidings.reading.reader_state import Batch, ReaderState

# So far behind may a client's clock be that says "now".
CLOCK_SLACK_MS = 3_600_000
# No client was told the stamp of a batch so young: who names it says "now", in the same moment.
YOUNG_MS = 1000


class Page(NamedTuple):
    """A page of history: the batch, if there is one, and the stamp of the batch before it, or 0."""

    batch: Batch | None
    before_ms: int


def page_asked_for(state: ReaderState, channel_id: int, at_ms: int, now_ms: int) -> Page | None:
    """The page of history that was asked for; None asks for a fresh batch.

    A server whose clock was set back finds batches in its future: their exact stamps page back to
    them, and "now" is fresh all the same.
    """
    if at_ms == 0:
        return None
    batch, before_ms = state.page_at(channel_id, at_ms)
    if batch is not None and batch.stamp_ms == at_ms:
        is_newest = at_ms == state.newest_ms(channel_id)
        return None if is_newest and abs(now_ms - at_ms) < YOUNG_MS else Page(batch, before_ms)
    if at_ms >= now_ms - CLOCK_SLACK_MS:
        return None
    return Page(batch, before_ms)
