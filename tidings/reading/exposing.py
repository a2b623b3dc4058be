"""What an exposure was of: the articles of its batch are written beside it before it is durable.

A reader's state keeps so many batches and no more, and the log may wait for a database that is
away: what was shown is known for certain only when the exposure is reported.

    with_batches(redis, events)  # the exposures among them with `packed_ids` and `sources`
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from prometheus_client import Counter
from redis import Redis

from tidings.reading.acts import Action
from tidings.reading.events import Event, pack_ids
from tidings.reading.history import find_batches

GONE = Counter(
    "tidings_exposures_without_batch_total",
    "Reported exposures of batches that were no longer kept, and were dropped",
)


def with_batches(redis: Redis, events: Sequence[Event]) -> list[Event]:
    """These events, and with each exposure what its batch was. One whose batch is no longer kept is
    left out."""
    places = [
        (event.reader_id, event.channel_id, event.stamp_ms)
        for event in events
        if event.action is Action.EXPOSURE
    ]
    if not places:
        return list(events)
    batches = dict(zip(places, find_batches(redis, places), strict=True))
    found: list[Event] = []
    for event in events:
        if event.action is not Action.EXPOSURE:
            found.append(event)
            continue
        batch = batches[event.reader_id, event.channel_id, event.stamp_ms]
        if batch is None:
            GONE.inc()
            continue
        shown = msgspec.structs.replace(
            event,
            packed_ids=pack_ids(batch.article_ids),
            sources=bytes(batch.sources),
            variant=batch.variant,
            context=batch.context,
        )
        found.append(shown)
    return found
