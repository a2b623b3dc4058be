"""Who is there: a key in Redis for each reader who is connected, which ends by itself.

A node writes the keys of its readers anew every 25 seconds in one pipeline, and they live for 75:
of a node that died, and of a Redis that was away, nothing has to be cleared up. Those who follow a
reader are told at once through the bus when the reader comes or goes, and within 25 seconds where a
node died. To reload a page is neither: a reader has gone after ten seconds. Where a reader has two
nodes and leaves one, the reader may look gone until the other one writes. Rejected: a set for each
reader with a member for each socket, which a node that died would have to leave.

    presence.arrived(7)
    presence.who_is_here([7, 9])  # {7}
    presence.look()  # again and again, in one coroutine
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence

from redis import Redis

from services.chat.hub import Hub
from services.chat.live import PRESENCE, live_entry, presence_topic
from services.chat.live import Presence as Event
from services.chat.publisher import Publisher
from tidings.store.keys import HERE, WATCHED

LOOK_EVERY_S = 1.0
WRITE_EVERY_S = 25.0
# A page that is loaded anew is back within a few seconds.
GONE_AFTER_S = 10.0
# A pipeline of so many is written and read within two milliseconds.
AT_ONCE = 100


class PresenceBoard:
    """One for a node.

    Args:
        node: the name of this node, like that of no other.
    """

    def __init__(
        self,
        redis: Redis,
        hub: Hub,
        publisher: Publisher,
        *,
        node: str,
    ) -> None:
        self._redis = redis
        self._hub = hub
        self._publisher = publisher
        self._node = node
        self._arrived: dict[int, None] = {}
        self._left: dict[int, float] = {}
        self._told: dict[int, bool] = {}
        self._written_s = time.monotonic()

    def arrived(self, reader_id: int) -> None:
        """A reader has a connection here. Waits for nothing."""
        if self._left.pop(reader_id, None) is None:
            self._arrived[reader_id] = None

    def left(self, reader_id: int) -> None:
        """A reader's last connection here has ended. Waits for nothing."""
        self._arrived.pop(reader_id, None)
        self._left[reader_id] = time.monotonic()

    def who_is_here(self, reader_ids: Collection[int]) -> frozenset[int]:
        """Those of them who are connected to any node.

        Raises:
            RedisError: it is not known.
        """
        asked = list(reader_ids)
        if not asked:
            return frozenset()
        with self._redis.pipeline(transaction=False) as pipeline:
            for reader_id in asked:
                pipeline.exists(HERE.of(reader_id))
            return frozenset(
                id_ for id_, found in zip(asked, pipeline.execute(), strict=True) if found
            )

    def watch(self, reader_id: int) -> bool:
        """Have others tell when a reader comes or goes; returns whether the reader is there now.

        Raises:
            RedisError: it is not known, and nothing will be told for a while.
        """
        self._redis.set(WATCHED.of(reader_id), 1, ex=WATCHED.ttl_s)
        is_here = bool(self.who_is_here([reader_id]))
        self._told[reader_id] = is_here
        return is_here

    def look(self) -> None:
        """Write down who came and who has gone, after a pause, and now and then all who are here.

        Raises:
            RedisError: Redis is away; the keys there live for a while.
        """
        time.sleep(LOOK_EVERY_S)
        now_s = time.monotonic()
        for arrived in _parts(list(self._arrived)):
            self._write_arrived(arrived)
        gone = [id_ for id_, since_s in self._left.items() if now_s - since_s >= GONE_AFTER_S]
        for left in _parts(gone):
            self._take_away(left)
        # After those who came, of whom it would be overlooked that they were not there before.
        if now_s - self._written_s >= WRITE_EVERY_S:
            self._written_s = now_s
            self._write_all()

    def _write_all(self) -> None:
        for here in _parts(list({listener.reader_id for listener in self._hub.listeners()})):
            with self._redis.pipeline(transaction=False) as pipeline:
                for reader_id in here:
                    pipeline.set(HERE.of(reader_id), self._node, ex=HERE.ttl_s)
                pipeline.execute()
        watched = self._hub.followed(PRESENCE)
        self._told = {id_: is_here for id_, is_here in self._told.items() if id_ in watched}
        for followed in _parts(list(watched)):
            self._check(followed)

    def _write_arrived(self, reader_ids: Sequence[int]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for reader_id in reader_ids:
                pipeline.set(HERE.of(reader_id), self._node, ex=HERE.ttl_s, get=True)
                pipeline.exists(WATCHED.of(reader_id))
            answers = pipeline.execute()
        for reader_id, before, is_watched in zip(
            reader_ids, answers[::2], answers[1::2], strict=True
        ):
            self._arrived.pop(reader_id, None)
            if before is None and is_watched:
                self._tell(reader_id, is_here=True)

    def _take_away(self, reader_ids: Sequence[int]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for reader_id in reader_ids:
                pipeline.get(HERE.of(reader_id))
                pipeline.exists(WATCHED.of(reader_id))
            answers = pipeline.execute()
            for reader_id, node, is_watched in zip(
                reader_ids, answers[::2], answers[1::2], strict=True
            ):
                # Another node has written its name where the reader is connected there as well.
                if node == self._node.encode():
                    pipeline.delete(HERE.of(reader_id))
                    if is_watched:
                        self._tell(reader_id, is_here=False)
            pipeline.execute()
        for reader_id in reader_ids:
            self._left.pop(reader_id, None)

    def _check(self, watched: Sequence[int]) -> None:
        """What no node has told: that one died with its readers."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for reader_id in watched:
                pipeline.set(WATCHED.of(reader_id), 1, ex=WATCHED.ttl_s)
            pipeline.execute()
        here = self.who_is_here(watched)
        for reader_id in watched:
            is_here = reader_id in here
            if self._told.get(reader_id, is_here) != is_here:
                self._hub.say(
                    presence_topic(reader_id), Event(reader_id=reader_id, is_here=is_here)
                )
            self._told[reader_id] = is_here

    def _tell(self, reader_id: int, *, is_here: bool) -> None:
        event = Event(reader_id=reader_id, is_here=is_here)
        self._publisher.say(live_entry(event, to=[presence_topic(reader_id)]))


def _parts(reader_ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for begin in range(0, len(reader_ids), AT_ONCE):
        yield reader_ids[begin : begin + AT_ONCE]
