"""The catalogue follows the database: after any write it shows what SQL would, a refresh later at
most."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, event, select
from sqlalchemy.exc import OperationalError

from services.recommender.catalogue import following as catalogue_module
from services.recommender.catalogue.following import OVERLAP, STALE_AFTER_S, Catalogue, Entry
from tests.lab.newsroom import DAY_MS, HOUR_MS, NOW_MS, SECOND_MS, Clock, Newsroom
from tests.lab.servers import wait_until
from tidings.news.tables import article
from tidings.news.visibility import PUBLISHED
from tidings.process.clock import moment
from tidings.store.engine import transaction

OVERLAP_MS = int(OVERLAP / timedelta(milliseconds=1))


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
def catalogue(newsroom: Newsroom, clock: Clock) -> Catalogue:
    catalogue = Catalogue(newsroom.engine, clock, newsroom.read_now)
    catalogue.refresh()
    return catalogue


def listed(catalogue: Catalogue, channel_id: int = 0, limit: int = 1000) -> list[int]:
    """The ids of everything in a channel, newest first."""
    view = catalogue.view()
    ids: list[int] = view.ids[view.newest(channel_id, catalogue._clock())[:limit]].tolist()
    return ids


def test_an_article_is_known_with_all_that_the_pipeline_needs(
    newsroom: Newsroom, catalogue: Catalogue
) -> None:
    """Id, channel, author and publication; an article without an author has none."""
    id_, anonymous = newsroom.article(author_id=5, channel_id=2), newsroom.article()

    assert catalogue.refresh() == 2
    assert catalogue.get(id_) == Entry(id_, 2, 5, NOW_MS - HOUR_MS)
    assert catalogue.get(anonymous) == Entry(anonymous, 1, None, NOW_MS - HOUR_MS)
    assert catalogue.get(10**12) is None
    assert len(catalogue) == 2


def test_channels_are_known_and_for_you_always_is(newsroom: Newsroom, catalogue: Catalogue) -> None:
    """Channel 0 needs no row; another channel is known a refresh after it was opened."""
    assert [catalogue.has_channel(id_) for id_ in (0, 1, 2, 3, -1)] == [
        True,
        True,
        True,
        False,
        False,
    ]
    newsroom.channels(3)
    catalogue.refresh()

    assert catalogue.has_channel(3)


def test_articles_come_newest_first(newsroom: Newsroom, catalogue: Catalogue) -> None:
    """By publication and then by id, within a channel or over all."""
    old = newsroom.articles(2, channel_id=2, published_ms=NOW_MS - DAY_MS)
    same = newsroom.articles(3, apart_ms=0)
    catalogue.refresh()
    expected = [*reversed(same), *old]

    assert expected == listed(catalogue)
    assert expected[:2] == listed(catalogue, limit=2)
    assert old == listed(catalogue, 2)
    assert listed(catalogue, 77) == []


def test_a_refresh_with_nothing_new_takes_in_nothing(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock
) -> None:
    """What the overlap reads again is recognised."""
    newsroom.articles(3)
    assert [catalogue.refresh(), catalogue.refresh()] == [3, 0]
    clock.advance(HOUR_MS)

    assert catalogue.refresh() == 0


def test_what_is_taken_down_goes_and_what_is_put_back_returns(
    newsroom: Newsroom, catalogue: Catalogue
) -> None:
    """Even when all of it happens within one millisecond, a refresh between each."""
    id_ = newsroom.article()
    for status, expected in (
        (PUBLISHED, [id_]),
        ("taken_down", []),
        (PUBLISHED, [id_]),
        ("scheduled", []),
    ):
        newsroom.change(id_, status=status)
        catalogue.refresh()
        assert expected == listed(catalogue)


def test_an_article_moves_to_another_channel_and_another_time(
    newsroom: Newsroom, catalogue: Catalogue
) -> None:
    """It is in one channel at a time, in its new place, and once over all."""
    id_, other = newsroom.articles(2)
    catalogue.refresh()
    newsroom.change(id_, channel_id=2, published_ms=NOW_MS - DAY_MS)
    catalogue.refresh()

    assert (listed(catalogue, 1), listed(catalogue, 2), listed(catalogue)) == (
        [other],
        [id_],
        [other, id_],
    )


def test_an_article_becomes_visible_with_the_clock(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock
) -> None:
    """Its row says when; no refresh, no change is needed at that moment."""
    id_ = newsroom.article(published_ms=NOW_MS + HOUR_MS)
    catalogue.refresh()
    assert (catalogue.get(id_), listed(catalogue)) == (None, [])
    clock.advance(HOUR_MS - 1)
    assert listed(catalogue, 1) == []
    clock.advance(1)

    assert listed(catalogue, 1) == [id_]
    assert catalogue.get(id_) is not None


def test_missed_refreshes_are_made_up_for(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock
) -> None:
    """A database that was away for a day, and all that was written meanwhile: one refresh takes
    everything in."""
    gone, kept = newsroom.articles(2)
    catalogue.refresh()
    for _ in range(5):
        clock.advance(5 * HOUR_MS)
        newsroom.article(published_ms=clock())
    newsroom.change(gone, status="taken_down")
    clock.advance(5 * HOUR_MS)

    assert catalogue.refresh() == 6
    assert gone not in listed(catalogue)
    assert listed(catalogue)[-1] == kept


def test_a_writer_whose_clock_runs_ahead_hides_nobody_elses_changes(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock
) -> None:
    """One row stamped an hour from now must not make the next hour's changes look old."""
    ahead = newsroom.article(updated_ms=NOW_MS + HOUR_MS)
    catalogue.refresh()
    ordinary = newsroom.article(published_ms=NOW_MS)
    assert catalogue.refresh() == 1
    clock.advance(SECOND_MS)
    newsroom.change(ordinary, status="taken_down")
    newsroom.change(ahead, status="taken_down", updated_ms=NOW_MS + HOUR_MS + 1)

    assert catalogue.refresh() == 2
    assert listed(catalogue) == []


def test_a_row_that_was_committed_late_is_found_in_the_overlap(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock
) -> None:
    """A transaction that took long commits behind our back, stamped before what was read
    already."""
    clock.advance(HOUR_MS)
    newsroom.article()
    catalogue.refresh()
    late = newsroom.article(updated_ms=clock() - OVERLAP_MS + 1)

    assert catalogue.refresh() == 1
    assert late in listed(catalogue)


def test_more_changes_than_a_page_are_read_page_by_page(
    newsroom: Newsroom, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import stamps thousands of rows with one moment: pages are cut by moment and id, and lose
    none."""
    monkeypatch.setattr(catalogue_module, "PAGE_ROWS", 7)
    ids = newsroom.articles(20) + newsroom.articles(8, updated_ms=NOW_MS + 1)

    assert catalogue.refresh() == 28
    assert {*ids} == {*listed(catalogue)}


def test_an_edited_article_is_never_away_for_a_moment(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock
) -> None:
    """Readers ask while the catalogue takes in an edit: a page of history must not lose an article
    by that."""
    id_ = newsroom.article()
    catalogue.refresh()
    stop, missed = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            if catalogue.get(id_) is None:
                missed.append(1)

    reader = threading.Thread(target=look)
    reader.start()
    for place in range(300):
        catalogue._take_in(Entry(id_, 1 + place % 2, None, NOW_MS - HOUR_MS - place), visible=True)
    stop.set()
    reader.join(10)

    assert missed == []


@pytest.mark.parametrize(
    "failure",
    [OperationalError("SELECT", {}, Exception("away")), ValueError("no date"), MemoryError()],
)
def test_it_keeps_itself_fresh_and_survives_a_look_that_fails(
    newsroom: Newsroom,
    catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
) -> None:
    """The thread looks again and again; a failure of any kind is counted and logged, and the next
    look takes everything in."""
    monkeypatch.setattr(catalogue_module, "REFRESH_S", 0.005)
    refresh, failures, stop = catalogue.refresh, iter([True, True, False]), threading.Event()

    def refresh_sometimes() -> int:
        if next(failures, False):
            raise failure
        return refresh()

    monkeypatch.setattr(catalogue, "refresh", refresh_sometimes)
    keeper = threading.Thread(target=catalogue.keep_fresh, args=(stop,))
    keeper.start()
    id_ = newsroom.article()
    wait_until(lambda: catalogue.get(id_) is not None, 10, "the article to appear")
    stop.set()
    keeper.join(10)

    assert not keeper.is_alive()


def spoil(newsroom: Newsroom, article_id: int) -> None:
    """Make its publication a date that no calendar has, as another program might."""
    with newsroom.engine.begin() as conn:
        if conn.dialect.name != "sqlite":
            conn.exec_driver_sql("SET sql_mode=''")
        table = "UPDATE article SET published_at = '0000-00-00 00:00:00'"
        conn.exec_driver_sql(f"{table} WHERE id = {article_id}")


def test_an_article_whose_date_is_none_is_set_aside_and_the_others_go_on(
    newsroom: Newsroom, catalogue: Catalogue
) -> None:
    """Trap: one such row ended the catalogue's thread, and take-downs stopped for ever. It is named
    in the log once, and counted; once it is mended it is shown."""
    bad, gone, kept = newsroom.articles(3)
    catalogue.refresh()
    before = catalogue_module.SET_ASIDE._value.get()
    spoil(newsroom, bad)
    newsroom.change(gone, status="taken_down")
    newsroom.change(bad)
    with structlog.testing.capture_logs() as logs:
        assert catalogue.refresh() == 2
        assert catalogue.refresh() == 0

    assert listed(catalogue) == [kept]
    assert catalogue_module.SET_ASIDE._value.get() == before + 1
    assert [(entry["event"], entry["article"]) for entry in logs] == [("article_set_aside", bad)]
    newsroom.change(bad, published_ms=NOW_MS)
    assert catalogue.refresh() == 1
    assert listed(catalogue) == [bad, kept]


def test_an_article_that_the_catalogue_chokes_on_is_set_aside_as_well(
    newsroom: Newsroom, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with one, the others are taken in."""
    bad, good = newsroom.articles(2)
    take_in = catalogue._take_in

    def choke(entry: Entry, *, visible: bool) -> None:
        if entry.article_id == bad:
            raise ZeroDivisionError
        take_in(entry, visible=visible)

    monkeypatch.setattr(catalogue, "_take_in", choke)
    catalogue.refresh()

    assert listed(catalogue) == [good]


def test_an_idle_site_is_looked_at_for_nothing_after_an_import(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap: the place to read from followed the newest row, so that every look read the whole of
    the last import again, a second apart, for ever."""
    monkeypatch.setattr(catalogue_module, "PAGE_ROWS", 10)
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

    assert len([one for one in statements if "FROM article" in one]) == 1


def test_a_catalogue_knows_how_old_it_is(
    newsroom: Newsroom, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that readiness and an alert see one that is not brought up to date any more."""
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    catalogue.refresh()
    assert catalogue.is_fresh()
    assert abs(catalogue_module.REFRESHED_AT._value.get() - time.time()) < 60
    monkeypatch.setattr(time, "monotonic", lambda: now_s + STALE_AFTER_S)
    assert not catalogue.is_fresh()
    catalogue.refresh()

    assert catalogue.is_fresh()


change = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from([PUBLISHED, PUBLISHED, "taken_down", "scheduled"]),
        "channel_id": st.integers(1, 2),
        "author_id": st.sampled_from([None, 5]),
        "published_ms": st.integers(-5, 5).map(lambda hours: NOW_MS + hours * HOUR_MS),
    },
)
step = st.one_of(
    st.tuples(st.just("insert"), change),
    st.tuples(st.just("change"), st.integers(0, 20), change, st.integers(-OVERLAP_MS + 1, HOUR_MS)),
    st.tuples(st.just("advance"), st.integers(0, 2 * HOUR_MS)),
    st.tuples(st.just("refresh")),
)


@given(steps=st.lists(step, max_size=25))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_any_changes_the_catalogue_is_what_sql_says(
    newsroom: Newsroom, clock: Clock, steps: list[Any]
) -> None:
    """Inserts, edits and take-downs by writers with clocks of their own, refreshes at any time:
    nothing is missed."""
    clock.now_ms = NOW_MS
    with transaction(newsroom.engine) as conn:
        conn.execute(delete(article))
    catalogue = Catalogue(newsroom.engine, clock, newsroom.read_now)
    ids: list[int] = []
    newest_ms = 0
    for kind, *values in steps:
        if kind == "insert":
            ids.append(newsroom.article(**values[0]))
            newest_ms = max(newest_ms, clock())
        elif kind == "change" and ids:
            # A writer's clock may run ahead, or its transaction be late, by no more than the
            # overlap.
            updated_ms = max(
                clock() + values[2], newest_ms - OVERLAP_MS + 1 if newest_ms <= clock() else 0
            )
            newsroom.change(ids[values[0] % len(ids)], updated_ms=updated_ms, **values[1])
            newest_ms = max(newest_ms, updated_ms)
        elif kind == "advance":
            clock.advance(values[0])
        elif kind == "refresh":
            catalogue.refresh()
    catalogue.refresh()

    for channel_id in (0, 1, 2):
        query = select(article.c.id).where(
            article.c.status == PUBLISHED, article.c.published_at <= moment(clock())
        )
        if channel_id:
            query = query.where(article.c.channel_id == channel_id)
        with newsroom.engine.connect() as conn:
            expected = list(
                conn.scalars(query.order_by(article.c.published_at.desc(), article.c.id.desc()))
            )
        assert expected == listed(catalogue, channel_id)
