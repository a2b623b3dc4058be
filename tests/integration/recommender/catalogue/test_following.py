"""The catalogue follows the database: after any write it shows what SQL would, a refresh later at
most."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select
from sqlalchemy.exc import OperationalError

from services.recommender.catalogue import NO_AUTHOR, NO_ROW, Catalogue, following
from tests.integration.recommender.catalogue.looking import OVERLAP_MS, listed
from tests.lab.newsroom import DAY_MS, HOUR_MS, NOW_MS, SECOND_MS, Clock, Newsroom
from tests.lab.servers import wait_until
from tidings.news.tables import article
from tidings.news.visibility import PUBLISHED
from tidings.process.clock import moment
from tidings.store.engine import transaction


def test_an_article_is_known_with_all_that_the_pipeline_needs(
    newsroom: Newsroom, catalogue: Catalogue
) -> None:
    """Id, channel, author and publication; an article without an author has none."""
    id_, anonymous = newsroom.article(author_id=5, channel_id=2), newsroom.article()

    assert catalogue.refresh() == 2
    view = catalogue.view()
    rows = view.rows_of([id_, anonymous])
    assert view.channels[rows].tolist() == [2, 1]
    assert view.authors[rows].tolist() == [5, NO_AUTHOR]
    assert view.published[rows].tolist() == [NOW_MS - HOUR_MS] * 2
    assert view.updated[rows].tolist() == [NOW_MS] * 2
    assert view.rows_of([10**12]).tolist() == [NO_ROW]
    assert len(view) == 2


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


def test_articles_come_newest_first(newsroom: Newsroom, catalogue: Catalogue, clock: Clock) -> None:
    """By publication and then by id, within a channel or over all."""
    old = newsroom.articles(2, channel_id=2, published_ms=NOW_MS - DAY_MS)
    same = newsroom.articles(3, apart_ms=0)
    catalogue.refresh()
    expected = [*reversed(same), *old]

    assert expected == listed(catalogue, clock)
    assert expected[:2] == listed(catalogue, clock, limit=2)
    assert old == listed(catalogue, clock, 2)
    assert listed(catalogue, clock, 77) == []


def test_a_refresh_with_nothing_new_takes_in_nothing(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock
) -> None:
    """What the overlap reads again is recognised."""
    newsroom.articles(3)
    assert [catalogue.refresh(), catalogue.refresh()] == [3, 0]
    clock.advance(HOUR_MS)

    assert catalogue.refresh() == 0


def test_what_is_taken_down_goes_and_what_is_put_back_returns(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock
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
        assert expected == listed(catalogue, clock)


def test_an_article_moves_to_another_channel_and_another_time(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock
) -> None:
    """It is in one channel at a time, in its new place, and once over all."""
    id_, other = newsroom.articles(2)
    catalogue.refresh()
    newsroom.change(id_, channel_id=2, published_ms=NOW_MS - DAY_MS)
    catalogue.refresh()

    assert (listed(catalogue, clock, 1), listed(catalogue, clock, 2), listed(catalogue, clock)) == (
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
    assert listed(catalogue, clock) == []
    clock.advance(HOUR_MS - 1)
    assert listed(catalogue, clock, 1) == []
    clock.advance(1)

    assert listed(catalogue, clock, 1) == [id_]


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
    assert gone not in listed(catalogue, clock)
    assert listed(catalogue, clock)[-1] == kept


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
    assert listed(catalogue, clock) == []


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
    assert late in listed(catalogue, clock)


def test_more_changes_than_a_page_are_read_page_by_page(
    newsroom: Newsroom, catalogue: Catalogue, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import stamps thousands of rows with one moment: pages are cut by moment and id, and lose
    none."""
    monkeypatch.setattr(following, "PAGE_ROWS", 7)
    ids = newsroom.articles(20) + newsroom.articles(8, updated_ms=NOW_MS + 1)

    assert catalogue.refresh() == 28
    assert {*ids} == {*listed(catalogue, clock)}


def test_an_edited_article_is_never_away_for_a_moment(
    newsroom: Newsroom, catalogue: Catalogue
) -> None:
    """Readers ask while the catalogue takes in an edit: a page of history must not lose an article
    by that."""
    id_ = newsroom.article()
    catalogue.refresh()
    stop, missed = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            if catalogue.view().rows_of([id_])[0] == NO_ROW:
                missed.append(1)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for place in range(1, 21):
            newsroom.change(id_, channel_id=1 + place % 2, published_ms=NOW_MS - HOUR_MS - place)
            assert catalogue.refresh() == 1
    finally:
        stop.set()
        reader.join(60)

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
    monkeypatch.setattr(following, "REFRESH_S", 0.005)
    refresh, failures, stop = catalogue.refresh, iter([True, True, False]), threading.Event()

    def refresh_sometimes() -> int:
        if next(failures, False):
            raise failure
        return refresh()

    monkeypatch.setattr(catalogue, "refresh", refresh_sometimes)
    keeper = threading.Thread(target=catalogue.keep_fresh, args=(stop,))
    keeper.start()
    id_ = newsroom.article()
    wait_until(lambda: id_ in catalogue.view().ids, 10, "the article to appear")
    stop.set()
    keeper.join(60)

    assert not keeper.is_alive()


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
        assert expected == listed(catalogue, clock, channel_id)
