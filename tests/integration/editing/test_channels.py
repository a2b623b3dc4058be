"""What editors do with channels, on both databases, and what imports that name them do then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from sqlalchemy import event, insert, select

from tests.conftest import MakeSettings
from tests.integration.editing.conftest import Desk, story
from tests.lab.newsroom import Clock, Newsroom
from tidings.editing import articles, channels
from tidings.editing.acting import Act, NotAllowedError, StaleRecordError
from tidings.editing.fields import FieldError, Fields
from tidings.editing.records import digest
from tidings.importing import import_rows
from tidings.news.articles import Articles
from tidings.news.channels import (
    Channel,
    ChannelNotFoundError,
    Channels,
    ensure_channels,
    read_channels,
)
from tidings.news.listing import list_channels
from tidings.news.rearranging import ChannelTakenError, ChannelUsedError
from tidings.news.tables import article
from tidings.process.clock import now_ms
from tidings.sources.records import read_source
from tidings.sources.registry import ensure_feed
from tidings.store.engine import database_now, make_engine, transaction


def known(desk: Desk) -> dict[int, str]:
    """Number → name of the channels that there are, as every list has them."""
    with desk.engine.connect() as conn:
        found = {one.channel_id: one.name for one in read_channels(conn)}
        assert {one.channel_id: one.name for one in list_channels(conn)} == found
    shown = Channels(desk.engine, clock=now_ms).channels()
    assert {one.channel_id: one.name for one in shown if one.channel_id} == found
    return found


def bring(desk: Desk, number: int, channel: str) -> None:
    """Import an article for a channel."""
    row = {"id": f"row-{number}", "title": "T", "body": "B", "channel": channel}
    assert import_rows([row], desk.engine).counts.created == 1


def test_a_channel_is_opened_and_renamed(desk: Desk, newsroom: Newsroom) -> None:
    """Its slug stays, so that what sources say goes on coming into it."""
    opened = desk.do("edith", channels.add, " Café & Bar ")
    assert (opened.slug, opened.name) == ("cafe-bar", "Café & Bar")
    desk.do("edith", channels.rename, opened.channel_id, "Where to eat")

    bring(desk, 1, "Café & Bar")

    assert known(desk) == {1: "Channel 1", 2: "Channel 2", opened.channel_id: "Where to eat"}
    assert len(desk.articles.latest(opened.channel_id, 5)) == 1
    assert [(entry.verb, entry.after) for entry in desk.log(nouns={"channel"})] == [
        ("add", {"slug": "cafe-bar", "name": "Café & Bar"}),
        ("rename", {"name": "Where to eat"}),
    ]


def test_a_merged_channel_goes_on_in_the_other(desk: Desk, newsroom: Newsroom) -> None:
    """Its articles, what a feed brings for it, and what a file says."""
    here, there = newsroom.article(), newsroom.article(channel_id=2)
    assert desk.articles.cards([here])[here].channel_id == 1
    with transaction(desk.engine) as conn:
        feed = ensure_feed(conn, "https://example.org/feed", added_by="shell:x", channel_id=1)

    assert desk.do("edith", channels.merge, 1, into=2) == 1
    bring(desk, 1, "Channel 1")

    assert known(desk) == {2: "Channel 2"}
    assert desk.articles.cards([here])[here].channel_id == 2
    assert {here, there} < set(desk.articles.latest(2, 5))
    with desk.engine.connect() as conn:
        assert read_source(conn, feed).channel_id == 2
    (entry,) = desk.log(verb="merge")
    assert (entry.noun_id, entry.after) == (1, {"into": 2, "articles": 1})


def test_channels_merged_one_after_the_other_end_in_the_last(
    desk: Desk, newsroom: Newsroom
) -> None:
    newsroom.channels(3)
    desk.do("edith", channels.merge, 1, into=2)
    desk.do("edith", channels.merge, 2, into=3)

    bring(desk, 1, "Channel 1")
    bring(desk, 2, "Channel 2")

    assert known(desk) == {3: "Channel 3"}
    assert len(desk.articles.latest(3, 5)) == 2


def test_a_deleted_channel_is_opened_anew_by_what_names_it(desk: Desk, newsroom: Newsroom) -> None:
    """Under its number, since readers may have hidden it by that; no other channel gets it."""
    desk.do("edith", channels.delete, 2)
    assert known(desk) == {1: "Channel 1"}
    assert desk.do("edith", channels.add, "Another").channel_id == 3

    bring(desk, 1, "Channel 2")

    assert known(desk) == {1: "Channel 1", 2: "Channel 2", 3: "Another"}
    desk.do("edith", channels.delete, 3)
    assert desk.do("edith", channels.add, "another").channel_id == 3


def test_a_channel_in_use_is_not_deleted(desk: Desk, newsroom: Newsroom) -> None:
    """Neither with articles, hidden ones included, nor while a feed delivers into it."""
    newsroom.article(channel_id=2, status="draft")
    with transaction(desk.engine) as conn:
        ensure_feed(conn, "https://example.org/feed", added_by="shell:x", channel_id=1)

    for channel_id in (1, 2):
        with pytest.raises(ChannelUsedError):
            desk.do("edith", channels.delete, channel_id)

    assert known(desk) == {1: "Channel 1", 2: "Channel 2"}


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        (lambda act: channels.add(act, "channel 1"), ChannelTakenError),
        (lambda act: channels.add(act, "?!"), FieldError),
        (lambda act: channels.add(act, "For you"), FieldError),
        (lambda act: channels.add(act, "x" * 200), FieldError),
        (lambda act: channels.rename(act, 1, ""), FieldError),
        (lambda act: channels.rename(act, 9, "New"), ChannelNotFoundError),
        (lambda act: channels.rename(act, 1, "New", seen={"older"}), StaleRecordError),
        (lambda act: channels.merge(act, 1, into=1), FieldError),
        (lambda act: channels.merge(act, 1, into=9), ChannelNotFoundError),
        (lambda act: channels.merge(act, 1, into=2, seen={"older"}), StaleRecordError),
        (lambda act: channels.delete(act, 9), ChannelNotFoundError),
        (lambda act: channels.delete(act, 2, seen={"older"}), StaleRecordError),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    desk: Desk, newsroom: Newsroom, verb: Callable[[Act], Any], expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        desk.do("edith", verb)

    assert (known(desk), desk.log()) == ({1: "Channel 1", 2: "Channel 2"}, [])


@pytest.mark.parametrize(
    "verb",
    [
        lambda act: channels.add(act, "New"),
        lambda act: channels.rename(act, 1, "New"),
        lambda act: channels.merge(act, 1, into=2),
        lambda act: channels.delete(act, 2),
    ],
)
def test_an_author_changes_no_channel(
    desk: Desk, newsroom: Newsroom, verb: Callable[[Act], Any]
) -> None:
    with pytest.raises(NotAllowedError):
        desk.do("ottoline", verb)

    assert known(desk) == {1: "Channel 1", 2: "Channel 2"}


def test_an_editor_who_saw_it_as_it_is_changes_it(desk: Desk, newsroom: Newsroom) -> None:
    seen = {digest(Channel(channel_id=1, slug="channel-1", name="Channel 1"))}

    assert desk.do("edith", channels.rename, 1, "New", seen=seen).name == "New"
    assert desk.do("edith", channels.rename, 1, "New").name == "New"
    assert len(desk.log()) == 1


def test_an_article_goes_into_no_channel_that_was_merged(desk: Desk, newsroom: Newsroom) -> None:
    id_ = newsroom.article(channel_id=2)
    desk.do("edith", channels.merge, 1, into=2)

    for verb, args in ((articles.create, [story()]), (articles.edit, [id_, Fields(channel_id=1)])):
        with pytest.raises(FieldError):
            desk.do("edith", verb, *args)


def test_a_channel_that_an_import_writes_into_is_merged_after_it(
    mariadb_url: str, make_settings: MakeSettings, redis_client: redis.Redis
) -> None:
    """Trap: the import has looked up the channel and writes next; the merge between the two would
    leave its article in a channel that is none any more. SQLite has one writer."""
    engine = make_engine(make_settings(database_url=mariadb_url).database)
    Newsroom(engine, Clock(now_ms())).channels(1, 2)
    desk = Desk(engine, Articles(engine, redis_client, card_ttl_s=300, clock=now_ms))
    is_there = threading.Event()

    def tell(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if "FOR UPDATE" in statement:
            is_there.set()

    event.listen(engine, "before_cursor_execute", tell)
    with ThreadPoolExecutor(1) as pool:
        with transaction(engine) as conn:
            channel_id = ensure_channels(conn, {"channel-1": "Channel 1"})["channel-1"]
            merging = pool.submit(desk.do, "edith", channels.merge, 1, into=2)
            assert is_there.wait(30)
            new = {"title": "T", "summary": "S", "body": "B", "status": "published"}
            now = {"published_at": database_now(conn), "updated_at": database_now(conn)}
            conn.execute(insert(article).values(channel_id=channel_id, source_id="a", **new, **now))
        assert merging.result(30) == 1

    with engine.connect() as conn:
        assert list(conn.scalars(select(article.c.channel_id))) == [2]
    engine.dispose()
