"""A stranger who uses an editor's guid changes nothing, whichever way it comes in."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from tests.integration.importing.conftest import ANYWHERE, Stored, write_jsonl
from tests.lab.web import Web
from tidings.editing.acting import job_actor, perform
from tidings.editing.channels import merge
from tidings.importing import Counts, Format, InputError, import_articles, loading
from tidings.news.articles import Articles
from tidings.news.channels import ensure_channels
from tidings.news.tables import article, channel
from tidings.process.clock import now_ms
from tidings.sources.records import find_sources
from tidings.store.engine import transaction

GUID = "urn:ours:1"
OWN = {
    "id": GUID,
    "title": "Ours",
    "body": "As it was.",
    "channel": "News",
    "url": "https://ours.example.org/1",
}
THEIRS = OWN | {"title": "Theirs", "body": "Rewritten."}


def feed(guid: str = GUID, title: str = "Theirs") -> str:
    return (
        "<rss version='2.0'><channel><title>Strange</title><item>"
        f"<guid isPermaLink='false'>{guid}</guid><title>{title}</title>"
        "<link>https://ours.example.org/1</link><description>Rewritten.</description>"
        "</item></channel></rss>"
    )


@pytest.fixture
def bring(engine: Engine, tmp_path: Path) -> Any:
    """Import as an operator does."""

    def bring_(location: str, **options: Any) -> Counts:
        folder = tmp_path / "import"
        return import_articles(location, engine, folder=folder, rules=ANYWHERE, **options).counts

    return bring_


@pytest.fixture
def own(tmp_path: Path, bring: Any, stored: Stored) -> Any:
    """The editors' article, and what is stored of it."""
    bring(str(write_jsonl(tmp_path / "own.jsonl", [OWN])))
    return stored.articles()[GUID]


def test_a_feed_with_the_same_guid_is_another_article(
    web: Web, bring: Any, own: Any, stored: Stored
) -> None:
    """And so is a second feed with it; each finds its own again."""
    for path in ("/a", "/b"):
        url = web.serve(path, feed(title=f"Of {path}"))
        assert bring(url) == Counts(created=1)
        assert bring(url) == Counts(unchanged=1)
    assert stored.articles()[GUID] == own
    assert sorted(row.title for row in stored.articles().values()) == ["Of /a", "Of /b", "Ours"]


def test_rows_where_a_feed_was_expected_are_refused(
    web: Web, bring: Any, own: Any, stored: Stored, tmp_path: Path
) -> None:
    """Also behind a redirect; unless the operator says that they are meant."""
    rows = write_jsonl(tmp_path / "answer", [THEIRS]).read_bytes()
    web.serve("/answer.jsonl", rows)
    for path in ("/feed.rss", "/latest"):
        with pytest.raises(InputError, match="answers jsonl where a feed was expected"):
            bring(web.redirect(path, web.url("/answer.jsonl")))
    with pytest.raises(InputError, match="neither RSS nor Atom"):
        bring(web.serve("/plain.rss", rows))
    assert stored.articles()[GUID] == own


def test_a_list_where_a_feed_was_expected_is_not_followed(
    web: Web, bring: Any, own: Any, stored: Stored
) -> None:
    """None of its addresses is asked; one that an operator means to follow is, and its feeds are
    sources like any others."""
    hidden = web.serve("/hidden", feed())
    listed = f"<opml><body><outline text='f' xmlUrl='{hidden}'/></body></opml>"
    with pytest.raises(InputError, match="answers opml where a feed was expected"):
        bring(web.serve("/second.xml", listed))
    assert "/hidden" not in web.asked
    assert bring(web.url("/second.xml"), format_=Format.OPML) == Counts(created=1)
    assert stored.articles()[GUID] == own


def test_two_feeds_of_one_list_with_one_guid_are_two_articles(
    web: Web, bring: Any, engine: Engine, tmp_path: Path, stored: Stored
) -> None:
    """Importing it again changes nothing; and nothing is followed that was only imported."""
    urls = [web.serve(path, feed(title=path)) for path in ("/a", "/b")]
    outlines = "".join(f"<outline text='f' xmlUrl='{url}'/>" for url in urls)
    listed = tmp_path / "two.opml"
    listed.write_text(f"<opml><body>{outlines}</body></opml>")
    assert bring(str(listed)) == Counts(created=2)
    assert bring(str(listed)) == Counts(unchanged=2)
    with engine.connect() as conn:
        found = [one for one in find_sources(conn, limit=10) if one.address]
    assert [one.state for one in found] == ["unlisted"] * 2
    assert stored.count() == 2


def test_one_address_under_other_titles_is_one_channel(
    web: Web, bring: Any, stored: Stored
) -> None:
    """Whatever the feed calls itself that day."""
    for title in ("Sea", "Sea 🌊", "The Sea, daily"):
        web.serve("/feed", feed().replace("Strange", title))
        bring(web.url("/feed"))
    assert stored.count() == 1
    assert stored.count(channel) == 1


def test_a_channel_that_is_merged_while_a_feed_writes_is_left_whole(
    web: Web,
    bring: Any,
    engine: Engine,
    stored: Stored,
    redis_client: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the merge and after it, everything stands where the editor wants it."""
    monkeypatch.setattr(loading, "BATCH_ROWS", 5)
    items = "".join(
        f"<item><guid>{n}</guid><title>{n}</title><description>d</description></item>"
        for n in range(100)
    )
    url = web.serve(
        "/feed", f"<rss version='2.0'><channel><title>Old</title>{items}</channel></rss>"
    )
    with transaction(engine) as conn:
        into = ensure_channels(conn, {"new": "New"})["new"]
        old = ensure_channels(conn, {"old": "Old"})["old"]
    half_in = threading.Event()

    def tell(report: Any, _fraction: float) -> None:
        if report.counts.rows >= 50:
            half_in.set()

    def import_all() -> None:
        bring(url, on_progress=tell)

    importing = threading.Thread(target=import_all)
    importing.start()
    assert half_in.wait(60)
    articles = Articles(engine, redis_client, card_ttl_s=60, clock=now_ms)
    perform(engine, job_actor("test"), articles, lambda act: merge(act, old, into=into))
    importing.join()
    with engine.connect() as conn:
        assert set(conn.scalars(select(article.c.channel_id))) == {into}
    assert stored.count() == 100
