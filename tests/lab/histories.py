"""Batches as a recommender records them, for tests of what reads them.

record_batch(redis, reader_id=7, channel_id=10, ids=[1, 2], now_ms=NOW_MS)
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from redis import Redis

from tests.lab.newsroom import NOW_MS
from tidings.reading.history import History
from tidings.reading.reader_state import Batch

SOURCE = 2


def make_history(redis: Redis, *, batches_kept: int = 50, seen_kept: int = 500) -> History:
    """One that takes over what a worker of the release before recorded in the first channels."""
    return History(
        redis,
        batches_kept=batches_kept,
        seen_kept=seen_kept,
        ttl_s=30 * 24 * 3600,
        channels=lambda: range(12),
    )


def make_batch(
    ids: Sequence[int], channel_id: int = 10, stamp_ms: int = NOW_MS, source: int = SOURCE
) -> Batch:
    """A batch whose articles all came from one source."""
    return Batch(channel_id, stamp_ms, array("q", ids), bytes([source]) * len(ids))


def record_batch(
    redis: Redis, reader_id: int, channel_id: int, *, ids: Sequence[int], now_ms: int
) -> int:
    """Record a batch as a lone caller does, and return its stamp."""
    history = make_history(redis)
    batch = make_batch(ids, channel_id, now_ms)
    recorded = history.record(reader_id, batch, history.read(reader_id))
    assert recorded is not None
    return recorded.stamp_ms
