"""The cache under load, under take-downs and without its Redis: one load for what is missing, and
an answer always."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import msgspec
import pytest
import redis

from tests.conftest import MakeSettings
from tests.lab.servers import NO_RETRY, RedisServer, start_redis, wait_until
from tidings.process.deadline import Deadline, deadline_scope
from tidings.store import cache as cache_module
from tidings.store.cache import ABSENT, ABSENT_TTL_S, REST_S, CacheAside
from tidings.store.keys import Key
from tidings.store.redis import make_redis

TTL_S = 300
WORD = Key(shape="t1:word:<id>", kind="string", holds="a word", ttl_spread=0.1, most=100)


class Word(msgspec.Struct, frozen=True):
    """What is cached here."""

    text: str


class Shelf:
    """Where values come from: it counts each load, and can be made to wait, to fail and to
    change."""

    def __init__(self, words: Mapping[int, str]) -> None:
        self.words = dict(words)
        self.loads: list[list[int]] = []
        self.loading: Counter[int] = Counter()
        self.most_at_once = 0
        self.started = Event()
        self.go_on = Event()
        self.go_on.set()
        self.failure: BaseException | None = None

    def load(self, ids: Sequence[int]) -> dict[int, Word]:
        """The words of these ids, as they stand when the load begins."""
        self.loads.append(list(ids))
        self.loading.update(ids)
        self.most_at_once = max(self.most_at_once, *self.loading.values())
        found = {id_: Word(self.words[id_]) for id_ in ids if id_ in self.words}
        self.started.set()
        assert self.go_on.wait(60)
        self.loading.subtract(ids)
        if self.failure is not None:
            raise self.failure
        return found


class CountingRedis(redis.Redis):
    """A real client that writes down the commands it sends one by one."""

    commands: list[str]

    def execute_command(self, *args: Any, **options: Any) -> Any:
        self.commands.append(str(args[0]))
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call] # redis-py's


@pytest.fixture
def shelf() -> Shelf:
    return Shelf({1: "one", 2: "two", 3: "three ✓ 🗞"})


@pytest.fixture
def cache(redis_client: redis.Redis, shelf: Shelf) -> CacheAside[Word]:
    return make_cache(redis_client, shelf)


def make_cache(client: redis.Redis, shelf: Shelf) -> CacheAside[Word]:
    return CacheAside(client, WORD, Word, load=shelf.load, ttl_s=TTL_S)


def now_ms(client: redis.Redis) -> int:
    """By the clock of Redis."""
    told: Any = client.time()
    return int(told[0] * 1000 + told[1] // 1000)


def in_threads(number: int, call: Callable[[int], Any]) -> list[Any]:
    """What `call` returns, or the exception it raises, in so many threads that begin together."""
    at_once = Barrier(number)

    def run(place: int) -> Any:
        at_once.wait(60)
        try:
            return call(place)
        except Exception as ex:  # noqa: BLE001 - what was raised is what the test looks at
            return ex

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))


def test_what_was_loaded_once_comes_from_the_cache(cache: CacheAside[Word], shelf: Shelf) -> None:
    """The first caller loads, the second one does not; both get the same."""
    expected = {1: Word("one"), 3: Word("three ✓ 🗞")}

    assert expected == cache.get_many([1, 3])
    assert expected == cache.get_many([1, 3])
    assert shelf.loads == [[1, 3]]


def test_one_mget_and_one_load_for_all_that_is_missing(
    redis_client: redis.Redis, shelf: Shelf
) -> None:
    """A page of a feed costs one look into Redis and one query, however many of its articles are
    missing."""
    client = CountingRedis(connection_pool=redis_client.connection_pool)
    client.commands = []
    cache = make_cache(client, shelf)
    cache.get_many([2])
    client.commands.clear()

    assert cache.get_many([1, 2, 3, 9]) == {1: Word("one"), 2: Word("two"), 3: Word("three ✓ 🗞")}
    assert client.commands == ["MGET"]
    assert shelf.loads == [[2], [1, 3, 9]]


def test_no_ids_need_neither_redis_nor_a_load(cache: CacheAside[Word], shelf: Shelf) -> None:
    """An empty page is an empty answer; MGET without keys would be an error."""
    assert cache.get_many([]) == {}
    assert shelf.loads == []


def test_an_id_asked_for_twice_is_loaded_once(cache: CacheAside[Word], shelf: Shelf) -> None:
    """A caller who repeats itself does not wait for itself."""
    assert cache.get_many([1, 2, 1]) == {1: Word("one"), 2: Word("two")}
    assert shelf.loads == [[1, 2]]


def test_what_does_not_exist_is_remembered_for_a_shorter_time(
    cache: CacheAside[Word], shelf: Shelf, redis_client: redis.Redis
) -> None:
    """A reader who asks for an article that is not there, again and again, reaches the database
    once."""
    assert [cache.get_many([9]), cache.get_many([9])] == [{}, {}]
    assert shelf.loads == [[9]]
    assert 0 < redis_client.ttl(WORD.of(9)) <= ABSENT_TTL_S < TTL_S


def test_entries_expire_at_moments_spread_by_a_tenth(redis_client: redis.Redis) -> None:
    """What was filled together does not vanish together, and no entry lives longer than it
    should."""
    cache = make_cache(redis_client, Shelf(dict.fromkeys(range(200), "word")))
    before_ms = now_ms(redis_client)
    cache.get_many(range(200))
    after_ms = now_ms(redis_client)
    ends_ms: list[Any] = [redis_client.pexpiretime(WORD.of(id_)) for id_ in range(200)]

    assert min(ends_ms) >= before_ms + TTL_S * 900
    assert max(ends_ms) <= after_ms + TTL_S * 1100
    assert max(ends_ms) - min(ends_ms) > TTL_S * 100


def test_twenty_callers_who_miss_together_cause_one_load(
    cache: CacheAside[Word], shelf: Shelf
) -> None:
    """Single flight: the first one loads, nineteen wait for it, and all get the value."""
    shelf.go_on.clear()
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(cache.get_many, [1])
        assert shelf.started.wait(60)
        results = pool_of_waiters(cache, shelf, 19)

        assert [*results, leader.result(60)] == [{1: Word("one")}] * 20
    assert shelf.loads == [[1]]


def pool_of_waiters(cache: CacheAside[Word], shelf: Shelf, number: int) -> list[Any]:
    """The results of so many callers who all wait for a load under way, which is let go once they
    do."""
    flight = cache._flights[1]
    waiting = threading.Semaphore(0)
    result = flight.result

    def wait(timeout: float | None = None) -> Any:
        waiting.release()
        return result(timeout)

    flight.result = wait  # type: ignore[method-assign]

    def let_go() -> None:
        for _ in range(number):
            assert waiting.acquire(timeout=60)
        shelf.go_on.set()

    releaser = threading.Thread(target=let_go)
    releaser.start()
    results = in_threads(number, lambda _: cache.get_many([1]))
    releaser.join(60)
    return results


def test_callers_who_miss_overlapping_pages_wait_for_each_other_and_never_for_ever(
    redis_client: redis.Redis,
) -> None:
    """Twenty different pages that share articles: no article is being loaded by two at a time, and
    all are served."""
    shelf = Shelf({id_: str(id_) for id_ in range(30)})
    cache = make_cache(redis_client, shelf)
    pages = [[(start + 3 * step) % 30 for step in range(60)] for start in range(20)]
    results = in_threads(20, lambda place: cache.get_many(pages[place]))

    assert [{id_: Word(str(id_)) for id_ in page} for page in pages] == results
    assert shelf.most_at_once == 1


def test_whoever_waits_gets_the_leaders_failure(cache: CacheAside[Word], shelf: Shelf) -> None:
    """A database that fails fails everybody who waits for it, at once, and the next caller tries
    again."""
    shelf.failure = ConnectionError("the database is away")
    shelf.go_on.clear()
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(cache.get_many, [1])
        assert shelf.started.wait(60)
        results = pool_of_waiters(cache, shelf, 5)
        with pytest.raises(ConnectionError, match="the database is away"):
            leader.result(60)

    assert [shelf.failure] * 5 == results
    shelf.failure = None
    assert cache.get_many([1]) == {1: Word("one")}


def test_a_waiter_waits_no_longer_than_its_deadline(cache: CacheAside[Word], shelf: Shelf) -> None:
    """Another reader's slow load must not cost this reader more than this reader's own budget."""
    shelf.go_on.clear()
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(cache.get_many, [1])
        assert shelf.started.wait(60)
        with deadline_scope(Deadline.after_ms(20)), pytest.raises(TimeoutError):
            cache.get_many([1])
        assert not leader.done()
        shelf.go_on.set()
        assert leader.result(60) == {1: Word("one")}


def test_a_waiter_without_a_deadline_does_not_wait_for_ever(
    cache: CacheAside[Word], shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load that hangs holds a job up for so long and no longer."""
    monkeypatch.setattr(cache_module, "LOAD_WAIT_S", 0.02)
    shelf.go_on.clear()
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(cache.get_many, [1])
        assert shelf.started.wait(60)
        with pytest.raises(TimeoutError):
            cache.get_many([1])
        shelf.go_on.set()
        leader.result(60)


def test_what_is_forgotten_is_loaded_anew(cache: CacheAside[Word], shelf: Shelf) -> None:
    """After a change was committed the next reader sees it."""
    cache.get_many([1, 2])
    shelf.words[1] = "uno"
    cache.forget([1])

    assert cache.get_many([1, 2]) == {1: Word("uno"), 2: Word("two")}
    cache.forget([])


def test_what_is_buried_is_gone_at_once_though_cached(
    cache: CacheAside[Word], shelf: Shelf
) -> None:
    """A take-down does not wait for an entry to expire."""
    cache.get_many([1, 2])
    cache.bury([1])

    assert cache.get_many([1, 2]) == {2: Word("two")}
    assert shelf.loads == [[1, 2]]


def test_a_burial_during_a_load_has_the_last_word(cache: CacheAside[Word], shelf: Shelf) -> None:
    """The load read the row before the take-down and fills the cache after it: it must not bring
    the article back."""
    shelf.go_on.clear()
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(cache.get_many, [1])
        assert shelf.started.wait(60)
        del shelf.words[1]
        cache.bury([1])
        shelf.go_on.set()
        load.result(60)

    assert cache.get_many([1]) == {}


def test_a_burial_lasts_as_long_as_an_entry_would(
    cache: CacheAside[Word], redis_client: redis.Redis
) -> None:
    """A load that began before the take-down may end late; by then the grave must still be
    there."""
    cache.bury([1])

    assert redis_client.get(WORD.of(1)) == ABSENT
    assert ABSENT_TTL_S < TTL_S - 60 < redis_client.ttl(WORD.of(1)) <= TTL_S


@pytest.mark.parametrize("raw", [b"", b"garbage", b'{"text": 5}', b'{"other": "shape"}', b"\xff"])
def test_an_entry_nobody_can_read_is_a_miss(
    cache: CacheAside[Word], redis_client: redis.Redis, raw: bytes
) -> None:
    """A newer version's entry, or a damaged one, costs a load until it expires; it must not fail
    every reader."""
    redis_client.set(WORD.of(1), raw, ex=TTL_S)

    assert cache.get_many([1, 2]) == {1: Word("one"), 2: Word("two")}


class TestWithoutRedis:
    """A cache that is down must not take the site with it."""

    @pytest.fixture
    def server(self) -> Iterator[RedisServer]:
        with start_redis() as server:
            yield server

    @pytest.fixture
    def cache(
        self, server: RedisServer, shelf: Shelf, make_settings: MakeSettings
    ) -> Iterator[CacheAside[Word]]:
        with make_redis(make_settings(redis_url=server.url, redis_timeout_s=30).redis) as client:
            yield make_cache(client, shelf)

    def test_loads_are_answered_while_redis_is_dead(
        self, cache: CacheAside[Word], server: RedisServer, shelf: Shelf
    ) -> None:
        """Every caller is served from the database, and none sees an exception."""
        cache.get_many([1])
        server.kill()

        assert [cache.get_many([1, 9]) for _ in range(3)] == [{1: Word("one")}] * 3
        assert shelf.loads == [[1]] + [[1, 9]] * 3

    def test_a_frozen_redis_costs_one_time_out_a_second(
        self, server: RedisServer, shelf: Shelf
    ) -> None:
        """Redis that accepts and never answers is waited for once; then it is left alone for a
        second."""
        with CountingRedis(port=server.port, socket_timeout=0.2, retry=NO_RETRY) as client:
            client.commands = []
            cache = make_cache(client, shelf)
            with server.frozen():
                begun_s = time.monotonic()
                found = [cache.get_many([1]) for _ in range(20)]
                took_s = time.monotonic() - begun_s

            assert found == [{1: Word("one")}] * 20
            assert 1 <= len(client.commands) <= 1 + took_s / REST_S

    def test_redis_is_used_again_a_second_after_it_failed(
        self, cache: CacheAside[Word], server: RedisServer, shelf: Shelf
    ) -> None:
        """It rests for a second from the failure, not for longer, and then the cache fills and hits
        again."""
        server.kill()
        cache.get_many([1])
        server.restart()
        loads = len(shelf.loads)
        wait_until(lambda: time.monotonic() >= cache._rest_until_s, REST_S + 5, "the rest to end")
        cache.get_many([1])
        cache.get_many([1])

        assert shelf.loads[loads:] == [[1]]

    def test_a_change_that_cannot_reach_redis_says_so(
        self, cache: CacheAside[Word], server: RedisServer
    ) -> None:
        """The editor who takes an article down must know that an entry may still be there."""
        server.kill()
        for change in (cache.forget, cache.bury):
            with pytest.raises(redis.RedisError):
                change([1])
