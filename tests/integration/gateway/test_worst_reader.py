"""What Redis keeps of one reader, whatever the reader does: at most 16 KiB over all keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.conftest import MakeSettings
from tests.integration.gateway.whole import Whole, open_whole
from tests.unit.gateway.doors import READER_ID
from tidings.http.limits import LimitClass, Quotas
from tidings.reading.behaviour import fold
from tidings.store.keys import LIMITS_OF_READER, READER, VERSION
from tidings_idl.recommend.ttypes import Context, Event

MOST_BYTES = 16 * 1024
CHANNELS = range(1, 41)
AUTHORS = range(1, 81)
FIRST_ID = 2**62  # the widest that an article can be
MANY = Quotas(
    of_reader=dict.fromkeys(LimitClass, 10**6), key_times=1, address_times=1, new_readers=10**6
)


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def whole(
    make_settings: MakeSettings,
    engine: Engine,
    redis_client: Redis,
    redis_url: str,
    database_url: str,
) -> Iterator[Whole]:
    settings = make_settings(database_url=database_url, redis_url=redis_url)
    with open_whole(settings, engine, redis_client, quotas=MANY) as whole:
        newsroom = whole.door.newsroom
        newsroom.channels(*CHANNELS)
        newsroom.authors(*AUTHORS)
        for number in range(1200):
            newsroom.article(
                id=FIRST_ID + number,
                channel_id=CHANNELS[number % len(CHANNELS)],
                author_id=AUTHORS[number % len(AUTHORS)],
            )
        whole.recommender.catalogue.refresh()
        yield whole


def bytes_of(redis: Redis, reader_id: int) -> dict[str, int]:
    """Key → bytes, of every key that carries the reader's tag or number."""
    sizes: dict[str, int] = {}
    for key in redis.scan_iter(f"*{reader_id}*"):
        size: Any = redis.memory_usage(key, samples=0)
        sizes[key.decode()] = size
    return sizes


class Worst:
    """Does everything that a reader can do, and looks at what is kept after each piece."""

    def __init__(self, whole: Whole, redis: Redis) -> None:
        self._door = whole.door
        self._recommender = whole.recommender
        self._redis = redis
        self.largest: dict[str, int] = {}

    def look(self) -> None:
        sizes = bytes_of(self._redis, READER_ID)
        if sum(sizes.values()) > sum(self.largest.values()):
            self.largest = sizes

    def feed(self, channel_id: int, article_num: int) -> list[str]:
        """By HTTP; returns every token of the page."""
        self._door.clock.advance(1000)
        page = self._door.get(f"/articles?channel_id={channel_id}&article_num={article_num}").json
        self.look()
        tokens = [
            page["exposure"],
            *(t for card in page["results"] for t in card["track"].values()),
        ]
        return [token for token in tokens if token]  # a page of the lower steps has no exposure

    def ask(self, channel_id: int, article_num: int) -> list[str]:
        """By Thrift."""
        self._door.clock.advance(1000)
        page = self._recommender.ask(
            user_id=READER_ID,
            channel_id=channel_id,
            article_num=article_num,
            context=Context("mobile", "search"),
        )
        self.look()
        tokens = [page.exposure]
        for article in page.recommends:
            track = article.track
            tokens += [track.click, track.collect, track.reading, track.liking, track.dislike]
        return [token for token in tokens if token]

    def report(self, tokens: list[str], *, undone: bool = False) -> None:
        for start in range(0, len(tokens), 100):
            events = [{"track": one, "undone": undone} for one in tokens[start : start + 100]]
            assert self._door.report(events).status_code == 202
            self.look()
            fold(self._door.newsroom.engine, self._redis, consumer="test")

    def report_by_thrift(self, tokens: list[str]) -> None:
        for start in range(0, len(tokens), 100):
            events = [Event(one, 0, 86_400_000) for one in tokens[start : start + 100]]
            self._recommender.report(*events)
            self.look()
            fold(self._door.newsroom.engine, self._redis, consumer="test")

    def mark(self, method: str, path: str) -> None:
        headers = {"X-Reader": self._door.signer.sign(READER_ID)}
        answer = self._door.client.simulate_request(
            method, path, headers=headers, remote_addr="192.0.2.7"
        )
        assert answer.status_code == 204, (path, answer.text)
        fold(self._door.newsroom.engine, self._redis, consumer="test")


def test_redis_keeps_at_most_16_kib_of_a_reader_whatever_they_do(
    whole: Whole, redis_client: Redis
) -> None:
    worst = Worst(whole, redis_client)
    tokens = [worst.feed(channel_id, 100) for channel_id in (0, *CHANNELS[:10])]
    tokens += [worst.ask(channel_id, 100) for channel_id in (0, *CHANNELS[10:20])]
    for batch in tokens[:4]:
        worst.report(batch)
    for batch in tokens[4:8]:
        worst.report_by_thrift(batch)
    for number in range(70):
        ask = worst.ask if number % 2 else worst.feed
        worst.report(ask(CHANNELS[number % len(CHANNELS)], 1 + number % 12)[:6])
    worst.report(tokens[0][1:101], undone=True)
    for number in range(140):
        worst.mark("PUT", f"/articles/{FIRST_ID + number}/dislike")
        worst.mark("PUT", f"/articles/{FIRST_ID + 200 + number}/liking")
    for author_id in AUTHORS[40:]:
        worst.mark("PUT", f"/authors/{author_id}/dislike")
    for channel_id in CHANNELS[20:]:
        worst.mark("PUT", f"/channels/{channel_id}/dislike")
    worst.look()
    for _ in range(12):  # everything is full, and the largest batches come again
        worst.feed(0, 100)
    whole.door.get("/reader/likings")

    assert bytes_of(redis_client, READER_ID).keys() == {
        READER.of(READER_ID),
        VERSION.of(READER_ID),
        LIMITS_OF_READER.of(READER_ID),
    }
    assert 11_000 < sum(worst.largest.values()) <= MOST_BYTES, worst.largest
