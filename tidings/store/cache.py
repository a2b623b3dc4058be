"""Cache-aside over Redis: one MGET, then one load for everything that is missing.

Three things a naive cache gets wrong under load are settled here. Callers that miss the same key
together wait for one load (single flight). Entries expire at moments spread by 10 %, so that what
was filled together does not vanish together. What does not exist is remembered too, for a shorter
time. A Redis that fails costs one time-out, then is left alone for a second: a cache that is down
must not take the site with it.

    cards = CacheAside(redis, CARD, Card, load=load_cards, ttl_s=300)
    cards.get_many([1, 2, 3])  # those of the three that exist, by id
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

import msgspec
import structlog
from prometheus_client import Counter
from redis import Redis, RedisError

from tidings.process.deadline import current_deadline
from tidings.store.keys import Key

ABSENT = b"-"
ABSENT_TTL_S = 15
REST_S = 1.0
LOAD_WAIT_S = 10.0

log = structlog.get_logger(__name__)
LOOKUPS = Counter("tidings_cache_lookups_total", "Cache look-ups by outcome", ["cache", "outcome"])

Value = TypeVar("Value", bound=msgspec.Struct)


class CacheAside(Generic[Value]):
    """Values of one type by integer id.

    Args:
        redis: where entries are kept.
        key: the keys of its entries, by the value's id; its first word names the cache in metrics.
        value_type: what the values are.
        load: id → value for those of the given ids that exist; called with the ids that are in no
            cache.
        ttl_s: how long an entry lives, give or take the key's `ttl_spread`.
    """

    def __init__(
        self,
        redis: Redis,
        key: Key,
        value_type: type[Value],
        *,
        load: Callable[[Sequence[int]], Mapping[int, Value]],
        ttl_s: int,
    ) -> None:
        self._redis = redis
        self._key = key
        self._name = key.shape.split(":")[1]
        self._decoder = msgspec.json.Decoder(value_type)
        self._load = load
        self._ttl_s = ttl_s
        self._flights: dict[int, Future[Value | None]] = {}
        self._lock = threading.Lock()
        self._rest_until_s = 0.0

    def get_many(self, ids: Sequence[int]) -> dict[int, Value]:
        """id → value for those of `ids` that exist.

        Raises:
            TimeoutError: another caller's load of the same id did not end in time.
        """
        found: dict[int, Value] = {}
        missing: list[int] = []
        for id_, raw in zip(ids, self._read(ids), strict=True):
            if raw == ABSENT:
                continue
            value = None if raw is None else self._decode(id_, raw)
            if value is None:
                missing.append(id_)
            else:
                found[id_] = value
        self._count(len(ids) - len(missing), "hit")
        if missing:
            self._count(len(missing), "miss")
            found.update(self._load_once(missing))
        return found

    def forget(self, ids: Iterable[int]) -> None:
        """Drop what is cached for these ids; the next reader loads them anew.

        Raises:
            RedisError: the entries may still be there.
        """
        keys = [self._key.of(id_) for id_ in ids]
        if keys:
            self._redis.delete(*keys)

    def bury(self, ids: Iterable[int]) -> None:
        """Say that these ids do not exist (any more), and keep a load under way from saying
        otherwise.

        Raises:
            RedisError: the entries may still be there.
        """
        with self._redis.pipeline(transaction=False) as pipe:
            for id_ in ids:
                pipe.set(self._key.of(id_), ABSENT, ex=self._ttl_s)
            pipe.execute()

    def _decode(self, id_: int, raw: bytes) -> Value | None:
        try:
            return self._decoder.decode(raw)
        except msgspec.MsgspecError as ex:
            # Left to expire: deleting it could delete a burial that came in between.
            self._count(1, "unreadable")
            log.warning("cache_entry_unreadable", cache=self._name, id=id_, error=repr(ex))
            return None

    def _load_once(self, ids: Sequence[int]) -> dict[int, Value]:
        mine: dict[int, Future[Value | None]] = {}
        others: dict[int, Future[Value | None]] = {}
        with self._lock:
            for id_ in ids:
                if id_ in self._flights:
                    others[id_] = self._flights[id_]
                else:
                    mine[id_] = self._flights[id_] = Future()
        loaded = self._lead(mine)
        for id_, flight in others.items():
            deadline = current_deadline()
            wait_s = LOAD_WAIT_S if deadline is None else max(deadline.remaining_ms() / 1000, 0)
            value = flight.result(timeout=wait_s)
            if value is not None:
                loaded[id_] = value
        return loaded

    def _lead(self, flights: dict[int, Future[Value | None]]) -> dict[int, Value]:
        if not flights:
            return {}
        try:
            loaded = dict(self._load(list(flights)))
            self._fill(flights, loaded)
        except BaseException as ex:
            self._land(flights)
            for flight in flights.values():
                flight.set_exception(ex)
            raise
        self._land(flights)
        for id_, flight in flights.items():
            flight.set_result(loaded.get(id_))
        return loaded

    def _land(self, flights: Iterable[int]) -> None:
        with self._lock:
            for id_ in flights:
                del self._flights[id_]

    def _read(self, ids: Sequence[int]) -> Sequence[bytes | None]:
        nothing: list[bytes | None] = [None] * len(ids)
        if not ids or time.monotonic() < self._rest_until_s:
            return nothing
        try:
            found: list[bytes | None] = self._redis.mget([self._key.of(id_) for id_ in ids])  # type: ignore[assignment]
            return found
        except RedisError as ex:
            self._rest(ex)
            return nothing

    def _fill(self, ids: Iterable[int], loaded: Mapping[int, Value]) -> None:
        if time.monotonic() < self._rest_until_s:
            return
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for id_ in ids:
                    value = loaded.get(id_)
                    # NX: a take-down that came while we loaded has the last word.
                    if value is None:
                        pipe.set(self._key.of(id_), ABSENT, ex=ABSENT_TTL_S, nx=True)
                    else:
                        share = random.uniform(-self._key.ttl_spread, self._key.ttl_spread)  # noqa: S311 - spreads load, guards nothing
                        ttl_ms = int(self._ttl_s * (1 + share) * 1000)
                        pipe.set(self._key.of(id_), msgspec.json.encode(value), px=ttl_ms, nx=True)
                pipe.execute()
        except RedisError as ex:
            self._rest(ex)

    def _rest(self, ex: RedisError) -> None:
        self._rest_until_s = time.monotonic() + REST_S
        LOOKUPS.labels(self._name, "error").inc()
        log.warning("cache_unavailable", cache=self._name, error=repr(ex), rest_s=REST_S)

    def _count(self, number: int, outcome: str) -> None:
        if number:
            LOOKUPS.labels(self._name, outcome).inc(number)
