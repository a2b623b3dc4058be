"""Articles on both databases and a real Redis: what may be shown, in which form, and for how long
it is believed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import OperationalError

from tests.conftest import MakeSettings
from tests.lab.newsroom import HOUR_MS, NOW_MS, Clock, Newsroom
from tests.lab.servers import start_mariadb
from tidings.news.articles import ArticleNotFoundError, Articles, Card, WholeArticle
from tidings.news.channels import (
    CHANNELS_TTL_MS,
    FOR_YOU,
    Channel,
    ChannelNotFoundError,
    Channels,
)
from tidings.news.counted import Counts
from tidings.news.publishing import take_down
from tidings.news.tables import article, article_count, channel
from tidings.store.engine import database_now, make_engine, transaction
from tidings.store.migrate import migrate

# Four-byte letters, a combined family, right-to-left text and a zero-width joiner.
WORDS = "🗞️ 𝄞 Tidings 👨‍👩‍👧‍👦 مرحبا 𠜎 naïve"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def newsroom(engine: Engine, clock: Clock) -> Newsroom:
    room = Newsroom(engine, clock)
    room.channels(1, 2)
    room.authors(5)
    return room


@pytest.fixture
def articles(newsroom: Newsroom, redis_client: redis.Redis, clock: Clock) -> Articles:
    return Articles(newsroom.engine, redis_client, card_ttl_s=300, clock=clock)


@pytest.fixture
def channels(newsroom: Newsroom, clock: Clock) -> Channels:
    return Channels(newsroom.engine, clock=clock)


def hide(newsroom: Newsroom, articles: Articles, article_id: int) -> None:
    """Take an article down."""
    with transaction(newsroom.engine) as conn:
        take_down(conn, article_id, articles)


def test_a_card_has_what_a_feed_shows(newsroom: Newsroom, articles: Articles) -> None:
    """Everything on the card comes from the rows, counts and author included, and again from the
    cache."""
    id_ = newsroom.article(
        author_id=5,
        cover="https://example.org/a.png",
        title="T",
        summary="S",
        channel_id=2,
        language="ar",
    )
    with transaction(newsroom.engine) as conn:
        conn.execute(
            insert(article_count).values(
                article_id=id_, exposure=9, click=4, reading=3, collect=2, liking=1
            )
        )
    counts = Counts(exposure=9, click=4, reading=3, collect=2, liking=1)
    expected = Card(
        article_id=id_,
        title="T",
        summary="S",
        author="Author 5",
        channel_id=2,
        cover="https://example.org/a.png",
        published_at=NOW_MS - HOUR_MS,
        counts=counts,
        language="ar",
    )

    assert articles.cards([id_]) == {id_: expected}
    assert articles.cards([id_]) == {id_: expected}


def test_a_whole_article_is_all_of_it(newsroom: Newsroom, articles: Articles) -> None:
    """Body, address and last change beside all that is on the card; it has no author and nothing
    was counted yet."""
    id_ = newsroom.article(title="T", summary="S", body="<p>B</p>", url="https://example.org/a")
    expected = WholeArticle(
        article_id=id_,
        title="T",
        summary="S",
        author=None,
        channel_id=1,
        cover=None,
        published_at=NOW_MS - HOUR_MS,
        counts=Counts(),
        body="<p>B</p>",
        url="https://example.org/a",
        updated_at=NOW_MS,
    )

    assert articles.whole(id_) == expected
    assert articles.whole(id_) == expected


@pytest.mark.parametrize(
    ("cover", "image", "shown"),
    [
        ("https://example.org/a.png", "ab" * 32, "/images/" + "ab" * 32),
        ("http://example.org/a.png", "ab" * 32, "/images/" + "ab" * 32),
        ("https://example.org/a.png", None, "https://example.org/a.png"),
        ("http://example.org/a.png", None, None),
        (None, None, None),
    ],
)
def test_a_cover_is_the_picture_kept_here_or_one_by_https(
    newsroom: Newsroom, articles: Articles, cover: str | None, image: str | None, shown: str | None
) -> None:
    id_ = newsroom.article(cover=cover, image=image)

    assert articles.cards([id_])[id_].cover == articles.whole(id_).cover == shown


def test_text_of_every_alphabet_comes_back_as_it_was(
    newsroom: Newsroom, articles: Articles
) -> None:
    """Letters of four bytes survive a server whose own default is Latin-1, in every column, and the
    cache."""
    id_ = newsroom.article(title=WORDS, summary=WORDS, body=f"<p>{WORDS}</p>")

    for _ in range(2):
        page = articles.whole(id_)
        assert (page.title, page.summary, page.body) == (WORDS, WORDS, f"<p>{WORDS}</p>")


def test_only_published_and_due_articles_are_shown(
    newsroom: Newsroom, articles: Articles, clock: Clock
) -> None:
    """Taken down, scheduled or not due yet: on no card, no page and in no list; due means this very
    millisecond."""
    due = newsroom.article(published_ms=clock())
    hidden = [
        newsroom.article(published_ms=clock() + 1),
        newsroom.article(status="taken_down"),
        newsroom.article(status="scheduled"),
        10**12,
    ]

    assert set(articles.cards([due, *hidden])) == {due}
    assert articles.latest(0, 10) == [due]
    for id_ in hidden:
        with pytest.raises(ArticleNotFoundError) as caught:
            articles.whole(id_)
        assert id_ == caught.value.article_id


def test_what_is_taken_down_disappears_at_once_though_cached(
    newsroom: Newsroom, articles: Articles
) -> None:
    """The next reader sees neither card nor page, though the cache held both; others are not
    touched."""
    kept, gone = newsroom.articles(2)
    articles.cards([kept, gone])
    articles.whole(gone)
    hide(newsroom, articles, gone)

    assert set(articles.cards([kept, gone])) == {kept}
    assert articles.latest(0, 10) == [kept]
    with pytest.raises(ArticleNotFoundError):
        articles.whole(gone)


def test_taking_down_twice_is_harmless_and_nothing_is_not_found(
    newsroom: Newsroom, articles: Articles
) -> None:
    """The second take-down changes nothing and fails no caller, though MySQL counts only rows that
    changed."""
    id_ = newsroom.article()
    hide(newsroom, articles, id_)
    hide(newsroom, articles, id_)

    with pytest.raises(ArticleNotFoundError):
        hide(newsroom, articles, 10**12)


def test_a_take_down_is_stamped_by_the_clock_that_all_writers_share(
    newsroom: Newsroom, articles: Articles, clock: Clock
) -> None:
    """A process whose own clock is slow must not hide its take-down from those who look for the
    newest changes."""
    id_ = newsroom.article()
    clock.advance(-365 * 24 * HOUR_MS)
    hide(newsroom, articles, id_)
    with newsroom.engine.connect() as conn:
        (stamp, now) = conn.execute(select(article.c.updated_at, database_now(conn))).one()

    assert timedelta(0) <= now - stamp < timedelta(minutes=1)


def test_a_change_is_seen_once_it_is_forgotten(newsroom: Newsroom, articles: Articles) -> None:
    """Cards and pages are believed for their time; a program that changes an article says so."""
    id_ = newsroom.article(title="before")
    articles.cards([id_])
    articles.whole(id_)
    newsroom.change(id_, title="after")
    assert articles.cards([id_])[id_].title == "before"
    articles.forget([id_])

    assert articles.cards([id_])[id_].title == "after"
    assert articles.whole(id_).title == "after"


def test_the_latest_come_newest_first_and_by_id_where_equal(
    newsroom: Newsroom, articles: Articles
) -> None:
    """Every database gives the same order, though an import publishes a hundred articles in one
    millisecond."""
    old = newsroom.articles(2, channel_id=2, published_ms=NOW_MS - 2 * HOUR_MS)
    same = newsroom.articles(3, apart_ms=0)
    expected = [*reversed(same), *old]

    assert expected == articles.latest(0, 10)
    assert expected[:2] == articles.latest(0, 2)
    assert old == articles.latest(2, 10)
    assert articles.latest(77, 10) == []


def test_channels_are_listed_with_for_you_first(newsroom: Newsroom, channels: Channels) -> None:
    """ "For you" is not in the table and is always there."""
    expected = [FOR_YOU, Channel(1, "channel-1", "Channel 1"), Channel(2, "channel-2", "Channel 2")]

    assert expected == channels.channels()
    assert expected[2] == channels.channel(2)
    assert channels.channel(0) == FOR_YOU
    with pytest.raises(ChannelNotFoundError, match="there is no channel 77"):
        channels.channel(77)


@pytest.mark.parametrize("by_ms", [CHANNELS_TTL_MS, -1])
def test_channels_are_read_again_after_two_seconds(
    newsroom: Newsroom, channels: Channels, clock: Clock, by_ms: int
) -> None:
    """Remembered for so long and no longer, also after a clock was set back."""
    channels.channels()
    newsroom.channels(3)
    with transaction(newsroom.engine) as conn:
        conn.execute(update(channel).where(channel.c.id == 1).values(name="Renamed"))
    clock.advance(CHANNELS_TTL_MS - 1)
    assert [known.channel_id for known in channels.channels()] == [0, 1, 2]
    clock.advance(1 - CHANNELS_TTL_MS + by_ms)

    assert [known.name for known in channels.channels()] == [
        "For you",
        "Renamed",
        "Channel 2",
        "Channel 3",
    ]


class TestWithoutDatabase:
    """The database away, on a server of one's own that can be killed and frozen."""

    @pytest.fixture
    def articles(
        self, redis_client: redis.Redis, make_settings: MakeSettings, clock: Clock
    ) -> Iterator[Articles]:
        with start_mariadb() as server:
            self.server = server
            url = server.new_database()
            engine = make_engine(make_settings(database_url=url).database)
            migrate(engine)
            self.newsroom = Newsroom(engine, clock)
            self.newsroom.channels(1, 2)
            self.channels = Channels(engine, clock=clock)
            yield Articles(engine, redis_client, card_ttl_s=300, clock=clock)
            engine.dispose()

    def test_the_last_known_channels_and_cached_cards_serve_on(
        self, articles: Articles, clock: Clock
    ) -> None:
        """Channels and what is cached are served while the database is away; what is not cached
        fails."""
        cached, uncached = self.newsroom.articles(2)
        articles.cards([cached])
        known = self.channels.channels()
        self.server.kill()
        clock.advance(HOUR_MS)

        assert known == self.channels.channels()
        assert set(articles.cards([cached])) == {cached}
        with pytest.raises(OperationalError):
            articles.cards([uncached])
        self.server.restart()
        self.newsroom.channels(3)
        clock.advance(CHANNELS_TTL_MS)
        assert len(self.channels.channels()) == 4
        assert set(articles.cards([uncached])) == {uncached}

    def test_channels_that_were_never_known_are_not_made_up(self, articles: Articles) -> None:
        """A process that starts while the database is away has no channels, and says why."""
        self.server.kill()

        with pytest.raises(OperationalError):
            self.channels.channels()

    def test_a_frozen_database_holds_up_one_caller_and_not_all(
        self, articles: Articles, clock: Clock, make_settings: MakeSettings
    ) -> None:
        """While one caller waits to read the channels again, everybody else is served those that
        are known; that one is given them as well in the end."""
        known = self.channels.channels()
        clock.advance(CHANNELS_TTL_MS)
        url = self.newsroom.engine.url.render_as_string(hide_password=False)
        soon: Any = {"database_connect_timeout_s": 1, "database_read_timeout_s": 1}
        hasty = make_engine(make_settings(database_url=url, **soon).database)
        with self.server.frozen(), ThreadPoolExecutor(1) as pool:
            is_asking, go_on = threading.Event(), threading.Event()
            load = self.channels._load

            def load_and_tell() -> dict[int, Channel]:
                is_asking.set()
                assert go_on.wait(60)
                return load()

            self.channels._load = load_and_tell  # type: ignore[method-assign] # a spy
            self.channels._engine = hasty
            waits = pool.submit(self.channels.channels)
            assert is_asking.wait(60)

            assert known == self.channels.channels()
            assert not waits.done()
            go_on.set()
            assert known == waits.result(60)
        hasty.dispose()
