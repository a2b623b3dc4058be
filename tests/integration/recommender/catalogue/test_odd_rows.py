"""The catalogue takes in what it can: rows that cannot be read or were deleted, clocks that are set
back, imports."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
import structlog
from sqlalchemy import event, make_url

from services.recommender.catalogue import Catalogue, following
from services.recommender.catalogue.following import STALE_AFTER_S
from tests.conftest import MakeSettings
from tests.integration.recommender.catalogue.looking import OVERLAP_MS, counting_rows, listed
from tests.lab.newsroom import HOUR_MS, NOW_MS, SECOND_MS, Clock, Newsroom
from tidings.store.engine import make_engine


def spoil(newsroom: Newsroom, article_id: int, change: str = "published_at = '0000-00-00'") -> None:
    """Make of an article what no program of ours would; its `updated_at` stays."""
    with newsroom.engine.begin() as conn:
        if conn.dialect.name != "sqlite":
            conn.exec_driver_sql("SET sql_mode=''")
        conn.exec_driver_sql(f"UPDATE article SET {change} WHERE id = {article_id}")


def set_aside(logs: Sequence[Mapping[str, Any]]) -> list[int]:
    """The articles that were told to be."""
    return [entry["article"] for entry in logs if entry["event"] == "article_set_aside"]


def test_an_article_whose_date_is_none_is_set_aside_and_the_others_go_on(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock
) -> None:
    """Trap: one such row ended the catalogue's thread, and take-downs stopped for ever. It is named
    in the log once, and counted; once it is mended it is shown."""
    bad, gone, kept = newsroom.articles(3)
    catalogue.refresh()
    before = following.SET_ASIDE._value.get()
    spoil(newsroom, bad)
    newsroom.change(gone, status="taken_down")
    newsroom.change(bad)
    with structlog.testing.capture_logs() as logs:
        assert catalogue.refresh() == 2
        assert catalogue.refresh() == 0

    assert listed(catalogue, clock) == [kept]
    assert following.SET_ASIDE._value.get() == before + 1
    assert set_aside(logs) == [bad]
    newsroom.change(bad, published_ms=NOW_MS)
    assert catalogue.refresh() == 1
    assert listed(catalogue, clock) == [bad, kept]


def test_an_article_that_cannot_be_read_at_the_start_is_set_aside_and_comes_back(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock
) -> None:
    """A start reads a page of thousands at once, and loses one of them. Mended by a program that
    stamps no change, it is found by the sweep."""
    good, bad, better = newsroom.articles(3)
    spoil(newsroom, bad)
    started = Catalogue(newsroom.engine, newsroom.clock, newsroom.read_now)
    with structlog.testing.capture_logs() as logs:
        assert started.refresh() == 2

    assert set_aside(logs) == [bad]
    assert listed(started, clock) == [good, better]
    spoil(newsroom, bad, "published_at = '2026-01-01 00:00:00.000'")
    assert started.refresh() == 1
    assert listed(started, clock) == [good, better, bad]


def test_text_that_sqlite_lets_into_any_column_is_set_aside(
    sqlite_url: str, make_settings: MakeSettings, clock: Clock
) -> None:
    """Its driver refuses a whole page for bytes that are no UTF-8, so nothing is decoded. An author
    who is none is no reason to hide an article."""
    engine = make_engine(make_settings(database_url=sqlite_url).database)
    newsroom = Newsroom(engine, clock)
    newsroom.channels(1)
    good, *bad, unsigned = newsroom.articles(8)
    spoilt = (
        "published_at = CAST(x'ff' AS TEXT)",
        "published_at = '2026-02-30 00:00:00.000'",
        "published_at = 'now'",
        "channel_id = 'news'",
        "channel_id = CAST(x'ff' AS TEXT)",
        "channel_id = -3",
        "author_id = 'x', updated_at = CAST(x'ff' AS TEXT)",
    )
    with closing(sqlite3.connect(str(make_url(sqlite_url).database))) as other, other:
        for article_id, change in zip((*bad, unsigned), spoilt, strict=True):
            other.execute(f"UPDATE article SET {change} WHERE id = {article_id}")
    catalogue = Catalogue(engine, clock, newsroom.read_now)
    with structlog.testing.capture_logs() as logs:
        catalogue.refresh()
        catalogue.refresh()

    assert sorted(set_aside(logs)) == sorted(bad)
    assert listed(catalogue, clock) == [good, unsigned]
    engine.dispose()


def test_a_row_that_is_deleted_is_found_by_the_sweep(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap: it left no change behind, and was recommended until the worker ended. The sweep is
    round after as many looks as it takes."""
    monkeypatch.setattr(following, "SWEEP_ROWS", 10)
    ids = newsroom.articles(25)
    catalogue.refresh()
    first, middle, last = min(ids), sorted(ids)[12], max(ids)
    for id_ in (first, middle, last):
        newsroom.remove(id_)

    assert [catalogue.refresh() for _ in range(4)] == [1, 1, 1, 0]
    assert not {first, middle, last} & {*listed(catalogue, clock)}
    assert len(catalogue.view()) == 22


def test_everything_deleted_leaves_an_empty_catalogue(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock
) -> None:
    """Also for a channel, and then one article comes."""
    for id_ in newsroom.articles(3):
        catalogue.refresh()
        newsroom.remove(id_)
    catalogue.refresh()

    assert (listed(catalogue, clock), listed(catalogue, clock, 1)) == ([], [])
    id_ = newsroom.article()
    assert catalogue.refresh() == 1
    assert listed(catalogue, clock, 1) == [id_]


def test_a_database_whose_clock_is_set_back_is_followed(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour back: what is changed from then on is older than what was read. The rows with stamps
    of a time to come are not read again with each look, however many they are."""
    monkeypatch.setattr(following, "SWEEP_ROWS", 1)
    gone, *others = newsroom.articles(30)
    catalogue.refresh()
    clock.advance(-HOUR_MS)
    newsroom.change(gone, status="taken_down")
    new = newsroom.article(published_ms=clock())

    assert catalogue.refresh() == 2
    assert {*listed(catalogue, clock)} == {
        *catalogue.view().ids[catalogue.view().published <= clock()].tolist()
    }
    assert gone not in catalogue.view().ids
    assert new in listed(catalogue, clock)
    with counting_rows() as read:
        catalogue.refresh()
    assert sum(read) <= 3, "the two that changed, and one of the sweep"
    clock.advance(HOUR_MS)
    assert catalogue.refresh() == 0
    assert {*listed(catalogue, clock)} == {*others, new}


def test_an_import_is_read_again_only_a_little(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For half a minute, the looks after an import would read all of it again. A transaction that
    commits late is found all the same: once in the overlap, all of it is read."""
    monkeypatch.setattr(following, "SWEEP_ROWS", 1)
    monkeypatch.setattr(following, "CHEAP_ROWS", 50)
    newsroom.articles(100)
    catalogue.refresh()
    clock.advance(int(following.SHORT_OVERLAP / timedelta(milliseconds=1)) + 1)
    catalogue.refresh()
    late = newsroom.article(updated_ms=NOW_MS - 1)
    with counting_rows() as read:
        catalogue.refresh()
    assert sum(read) <= 1
    assert late not in listed(catalogue, clock)
    clock.advance(OVERLAP_MS)
    assert catalogue.refresh() == 1
    assert late in listed(catalogue, clock)


def test_an_idle_site_is_looked_at_for_nothing_after_an_import(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap: the place to read from followed the newest row, so that every look read the whole of
    the last import again, a second apart, for ever."""
    monkeypatch.setattr(following, "PAGE_ROWS", 10)
    newsroom.articles(100)
    catalogue.refresh()
    clock.advance(OVERLAP_MS + SECOND_MS)
    catalogue.refresh()
    statements: list[str] = []
    event.listen(
        newsroom.engine,
        "before_cursor_execute",
        lambda _conn, _cursor, statement, *_: statements.append(statement),
    )
    catalogue.refresh()

    assert len([one for one in statements if "FROM article" in one]) == 2, "the look, the sweep"


def test_a_catalogue_knows_how_old_it_is(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that readiness and an alert see one that is not brought up to date any more."""
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    catalogue.refresh()
    assert catalogue.is_fresh()
    assert following.REFRESHED_AT._value.get() == clock() / 1000
    monkeypatch.setattr(time, "monotonic", lambda: now_s + STALE_AFTER_S)
    assert not catalogue.is_fresh()
    catalogue.refresh()

    assert catalogue.is_fresh()
