"""Only the source that delivers an article changes it, however another calls its own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, update

from tests.integration.importing.conftest import Stored
from tidings.importing.rows import NewArticle
from tidings.importing.writing import FILES, Origin, Written, make_feed_origin, write_articles
from tidings.news.storing import make_identity
from tidings.news.tables import article, article_gone, cover_due
from tidings.sources.registry import ensure_feed, find_by_address, read_channel_id
from tidings.store.engine import transaction

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ADDRESS = "https://sea.example.org/feed"


def say(guid: str, /, **values: Any) -> NewArticle:
    """An article as a feed tells it."""
    usual: dict[str, Any] = {
        "source_id": guid,
        "guid": guid,
        "channel_slug": "sea",
        "channel_name": "Sea",
        "author": None,
        "title": f"Title {guid}",
        "summary": "Words.",
        "body": "<p>Words.</p>",
        "cover": None,
        "url": f"https://sea.example.org/{guid}",
        "published_at": NOW,
    }
    return NewArticle(**usual | values)


@pytest.fixture
def origin(engine: Engine) -> Origin:
    return add_feed(engine, ADDRESS)


def add_feed(engine: Engine, address: str) -> Origin:
    with transaction(engine) as conn:
        return make_feed_origin(ensure_feed(conn, address, added_by="shell:test"), address)


def write(engine: Engine, origin: Origin, *articles: NewArticle) -> Written:
    batch = {origin.identify(a): a for a in articles}
    return write_articles(engine, batch, NOW, origin=origin)


def titles(stored: Stored) -> list[str]:
    return sorted(row.title for row in stored.articles().values())


def test_a_file_and_a_feed_with_one_guid_are_two_articles(
    engine: Engine, stored: Stored, origin: Origin
) -> None:
    """The editor's stays as it is, by whatever host its address is."""
    own = say("1", title="Ours", url="https://ours.example.org/1")
    write(engine, FILES, own)
    write(engine, origin, say("1", title="Theirs", url="https://ours.example.org/1"))
    assert titles(stored) == ["Ours", "Theirs"]


def test_two_feeds_with_one_guid_do_not_change_each_other(
    engine: Engine, stored: Stored, origin: Origin
) -> None:
    """Each finds its own again."""
    other = add_feed(engine, "https://land.example.org/feed")
    for _ in range(2):
        written = [write(engine, by, say("1", title=f"Of {by.host}")) for by in (origin, other)]
    assert [len(each.unchanged) for each in written] == [1, 1]
    assert titles(stored) == ["Of land.example.org", "Of sea.example.org"]


def test_a_source_that_numbers_anew_keeps_its_articles(
    engine: Engine, stored: Stored, origin: Origin
) -> None:
    """They are found by address; readers see no change."""
    write(engine, origin, *(say(str(number)) for number in range(5)))
    before = {row.id: row.updated_at for row in stored.articles().values()}
    anew = [say(str(number), guid=f"tag:{number}") for number in range(5)]
    assert len(write(engine, origin, *anew).unchanged) == 5
    rows = stored.articles()
    assert {row.id: row.updated_at for row in rows.values()} == before
    assert set(rows) == {make_identity(origin.source_id, f"tag:{n}") for n in range(5)}


def test_a_source_that_comes_to_be_encrypted_keeps_its_articles(
    engine: Engine, stored: Stored, origin: Origin
) -> None:
    """Its guids are addresses, and all of them differ; two that stand side by side are two."""
    plain, secure = (f"{scheme}://sea.example.org/tide" for scheme in ("http", "https"))
    write(engine, origin, say(plain, url=plain))
    assert len(write(engine, origin, say(secure, url=secure)).updated) == 1
    assert [row.url for row in stored.articles().values()] == [secure]
    written = write(engine, origin, say(plain, url=plain), say(secure, url=secure))
    assert (len(written.created), len(written.unchanged)) == (1, 1)


def test_addresses_that_differ_in_case_are_two(
    engine: Engine, stored: Stored, origin: Origin
) -> None:
    """Also where the database compares them without case."""
    for guid, path in (("1", "Tide"), ("2", "tide")):
        written = write(engine, origin, say(guid, url=f"https://sea.example.org/{path}"))
        assert len(written.created) == 1
    assert stored.count() == 2
    with transaction(engine) as conn:
        assert find_by_address(conn, ADDRESS) is not None
        assert find_by_address(conn, ADDRESS.replace("feed", "Feed")) is None


def test_entries_that_share_an_address_are_told_apart_by_guid(
    engine: Engine, stored: Stored, origin: Origin
) -> None:
    """A feed whose every entry links to its front page."""
    page = "https://sea.example.org/"
    write(engine, origin, say("1", url=page), say("2", url=page))
    assert len(write(engine, origin, say("3", url=page), say("4", url=page)).created) == 2
    assert len(write(engine, origin, say("5", url=page)).created) == 1
    assert stored.count() == 5


def test_a_feed_takes_over_what_it_delivered_before_there_were_sources(
    engine: Engine, stored: Stored, origin: Origin
) -> None:
    """Told by an address on the feed's own host; what stands elsewhere is another's."""
    write(
        engine,
        FILES,
        say("a", url="https://www.sea.example.org/a"),
        say("b", url="https://land.example.org/b"),
    )
    written = write(
        engine,
        origin,
        say("x", title="Title a", url="https://www.sea.example.org/a"),
        say("y", title="Mine", url="https://land.example.org/b"),
    )
    assert (len(written.unchanged), len(written.created)) == (1, 1)
    owners = {row.title: row.origin_id for row in stored.articles().values()}
    assert owners == {"Title a": origin.source_id, "Title b": 1, "Mine": origin.source_id}


def test_what_an_editor_edited_stays_the_editors(
    engine: Engine, stored: Stored, origin: Origin
) -> None:
    """Whatever the source says afterwards."""
    write(engine, origin, say("1"))
    with transaction(engine) as conn:
        conn.execute(update(article).values(title="Better", edited_at=NOW))
    assert len(write(engine, origin, say("1", title="Worse", body="<p>Other.</p>")).unchanged) == 1
    assert titles(stored) == ["Better"]


def test_what_an_editor_deleted_does_not_come_back(
    engine: Engine, stored: Stored, origin: Origin
) -> None:
    with transaction(engine) as conn:
        gone = make_identity(origin.source_id, "1")
        conn.execute(insert(article_gone).values(source_id=gone, at=NOW))
    written = write(engine, origin, say("1"), say("2"))
    assert (written.gone, titles(stored)) == (1, ["Title 2"])


def test_an_old_copy_changes_nothing(engine: Engine, stored: Stored, origin: Origin) -> None:
    """A cache that answers with what the feed said yesterday."""
    old, new = NOW.replace(hour=1), NOW.replace(hour=2)
    write(engine, origin, say("1", title="New", changed_at=new))
    assert len(write(engine, origin, say("1", title="Old", changed_at=old)).unchanged) == 1
    assert len(write(engine, origin, say("1", title="Undated")).updated) == 1
    assert len(write(engine, origin, say("1", title="Old", changed_at=old)).unchanged) == 1
    assert titles(stored) == ["Undated"]


def test_a_source_has_one_channel(engine: Engine, stored: Stored, origin: Origin) -> None:
    """That of its first articles, whatever title the feed has later."""
    write(engine, origin, say("1"))
    write(engine, origin, say("2", channel_slug="lake", channel_name="Lake"))
    assert {row.slug for row in stored.articles().values()} == {"sea"}
    with engine.connect() as conn:
        assert read_channel_id(conn, origin.source_id) is not None


def test_covers_are_wanted_as_they_are_named(
    engine: Engine, stored: Stored, origin: Origin
) -> None:
    """Of what is new, and again when the source names another."""
    cover = "https://sea.example.org/1.jpg"
    write(engine, origin, say("1", cover=cover), say("2"))
    assert stored.count(cover_due) == 1
    with transaction(engine) as conn:
        conn.execute(cover_due.delete())
        conn.execute(update(article).values(image="0" * 64))
    write(engine, origin, say("1", cover=cover), say("2"))
    assert stored.count(cover_due) == 0
    write(engine, origin, say("1", cover=cover + "?2"))
    assert stored.count(cover_due) == 1
    with engine.connect() as conn:
        assert conn.scalar(select(article.c.image).where(article.c.cover.is_not(None))) is None


def test_no_file_can_make_the_identity_of_a_source(origin: Origin) -> None:
    """A long name of a source's is a digest that still says whose it is."""
    long = make_identity(origin.source_id, "x" * 500)
    assert long.startswith(f"{origin.source_id}\tsha256:")
    assert "\t" not in make_identity(FILES.source_id, "x" * 500)
