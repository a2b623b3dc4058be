"""Listens for "something is due soon", and wakes the scheduler: promptness only, nothing depends on
it.

Hints come over Redis publish/subscribe, which keeps nothing: one that is sent while no daemon
listens is lost, and the look once a second finds the row all the same. Many hints at once make one
look. Rejected: a Redis list, which keeps hints about rows that were done long ago.

    Loop("hints", HintListener(redis, scheduler.wakeup), stopping)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from redis import Redis, RedisError
from redis.client import PubSub

from tidings.store.delayed import HINT_CHANNEL

WAIT_S = 0.3
# Each look costs a millisecond or two; hints come up to a second before what they are about.
GATHER_S = 0.02


class HintListener:
    """One round a call, for a `Loop`: wait a little for hints, then wake once for all that came."""

    def __init__(self, redis: Redis, wake: Callable[[], object]) -> None:
        self._redis = redis
        self._wake = wake
        self._pubsub: PubSub | None = None

    def __call__(self) -> None:
        try:
            if self._pubsub is None:
                self._pubsub = self._redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
                self._pubsub.subscribe(HINT_CHANNEL)
            if self._pubsub.get_message(timeout=WAIT_S) is None:
                return
            gathered_at_s = time.monotonic() + GATHER_S
            while (left_s := gathered_at_s - time.monotonic()) > 0:
                self._pubsub.get_message(timeout=left_s)
        except RedisError:
            self.close()
            raise
        self._wake()

    def close(self) -> None:
        if self._pubsub is not None:
            # What is being given up may well be broken already.
            with suppress(RedisError):
                self._pubsub.close()
            self._pubsub = None
