"""What a reader saw and did last, for a program that talks with them of it.

It is read as Redis has it, in one round trip, and nothing is completed from the database: to a
question of now, what was months ago is no answer. Rejected: `history.read`, which belongs to the
choosing of a feed and restores a reader who was forgotten.

    lately = read_lately(redis, 7)
    lately.find_batch(12)  # Batch(channel_id=10, stamp_ms=…), in which article 12 was shown last
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis import Redis

from tidings.reading.packed import Batch
from tidings.reading.reader_state import FIELDS, read_fields
from tidings.store.keys import READER


class Lately(NamedTuple):
    """A reader's last batches, oldest first, and the article they did something with last."""

    batches: Sequence[Batch]
    acted_on: int | None

    def find_batch(self, article_id: int) -> Batch | None:
        """The newest batch in which this article was shown; None if it is not among these."""
        return next(
            (batch for batch in reversed(self.batches) if article_id in batch.article_ids), None
        )

    @property
    def article_id(self) -> int | None:
        """The article that a reader most likely means by "this": the one they acted upon last, or
        else the first of the newest batch."""
        if self.acted_on is not None or not self.batches:
            return self.acted_on
        return next(iter(self.batches[-1].article_ids), None)


def read_lately(redis: Redis, reader_id: int) -> Lately:
    """What is kept of a reader who was here in the last days.

    Raises:
        RedisError: it could not be read.
    """
    raw: Any = redis.hmget(READER.of(reader_id), FIELDS)
    state = read_fields(0, raw, reader_id)
    return Lately(state.batches, state.acts[-1].article_id if state.acts else None)
