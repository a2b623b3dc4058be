"""Rows that programs of schema 4 stored: counted once with what is stored today, before, while and
after they are converted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, delete, insert, select

from tests.integration.reading.test_undoing import CHANNEL, READER, STAMP_MS, Site
from tests.lab.histories import record_batch
from tests.lab.newsroom import NOW_MS, Clock
from tidings.news.counts import add_counts
from tidings.process.clock import moment
from tidings.reading import converting
from tidings.reading.acts import Action
from tidings.reading.behaviour import Report
from tidings.reading.converting import convert
from tidings.reading.events import unpack_ids
from tidings.reading.recounting import recount
from tidings.reading.stored import exposures_since, find_instant_readers
from tidings.reading.tables import behaviour, exposure
from tidings.reading.tracking import Shown
from tidings.store.engine import transaction


@pytest.fixture
def site(engine: Engine, redis_client: redis.Redis) -> Site:
    site = Site(engine, redis_client, Clock())
    site.channels(1, 2)
    return site


def store_as_before(site: Site, shown: list[Shown], at_ms: int = NOW_MS - 1000) -> None:
    """What a daemon of schema 4 writes when it folds these."""
    rows: list[dict[str, Any]] = [
        {
            "event_id": one.event_id,
            "reader_id": one.reader_id,
            "article_id": one.article_id,
            "channel_id": one.channel_id,
            "action": one.action.label,
            "position": one.position,
            "batch_stamp": one.stamp_ms,
            "at": moment(at_ms),
        }
        for one in shown
    ]
    with transaction(site.engine) as conn:
        conn.execute(insert(behaviour), rows)
        for one in shown:
            add_counts(conn, {one.article_id: {one.action.label: 1}})


def batch(ids: list[int], stamp_ms: int = STAMP_MS) -> list[Shown]:
    return [
        Shown(Action.EXPOSURE, READER, CHANNEL, stamp_ms, article_id, place)
        for place, article_id in enumerate(ids)
    ]


def convert_all(site: Site) -> int:
    return convert(site.engine, is_stopping=lambda: False)


def test_exposures_become_one_row_a_batch_and_nothing_is_counted_anew(site: Site) -> None:
    """With the articles in the order in which they were shown; the counters stay as they were."""
    ids = site.articles(3)
    other = site.articles(2)
    store_as_before(site, [*batch(ids), *batch(other, STAMP_MS + 1)])
    before = [site.counts(article_id) for article_id in (*ids, *other)]

    assert convert_all(site) == 5
    assert [list(unpack_ids(row.article_ids)) for row in site.exposures()] in (
        [ids, other],
        [other, ids],
    )
    assert site.behaviours() == []
    assert [site.counts(article_id) for article_id in (*ids, *other)] == before
    assert recount(site.engine, moment(0), lambda: False) == 0
    assert convert_all(site) == 0


def test_a_conversion_that_stopped_goes_on_where_it_was(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In portions of any size, batches that lie across two of them included."""
    monkeypatch.setattr(converting, "CHUNK", 2)
    ids = site.articles(3)
    store_as_before(site, [*batch(ids), Shown(Action.CLICK, READER, CHANNEL, STAMP_MS, ids[0])])
    rounds: Iterator[bool] = iter([False, True])

    convert(site.engine, is_stopping=lambda: next(rounds))
    with site.engine.connect() as conn:
        assert conn.scalars(select(behaviour.c.id).where(behaviour.c.layout == 0)).all() == []
    assert [list(unpack_ids(row.article_ids)) for row in site.exposures()] == [ids]
    convert_all(site)
    assert [row.action for row in site.behaviours()] == ["click"]
    assert site.score(ids[0]) > 0, "what was done before is in the rankings"


@pytest.mark.parametrize("is_converted", [False, True])
def test_what_a_daemon_before_stored_counts_no_second_time(site: Site, is_converted: bool) -> None:
    """The exposure, the click and the liking of a page, reported again after the upgrade."""
    ids = site.articles(2)
    record_batch(site.redis, READER, CHANNEL, ids=ids, now_ms=STAMP_MS)
    place = Shown(Action.LIKING, READER, CHANNEL, STAMP_MS, ids[0])
    store_as_before(site, [*batch(ids), place])
    if is_converted:
        convert_all(site)
    seen = site.tracker.issue(Shown(Action.EXPOSURE, READER, CHANNEL, STAMP_MS), site.clock())
    site.door.report([Report(seen), Report(site.tracker.issue(place, site.clock()))])
    site.put(Action.LIKING, ids[0])

    assert site.count(Action.LIKING, ids[0]) == 1
    assert [site.counts(article_id)["exposure"] for article_id in ids] == [1, 1]
    convert_all(site)
    assert recount(site.engine, moment(0), lambda: False) == 0
    assert site.marks_on(ids[0]) == {Action.LIKING}
    site.delete(Action.LIKING, ids[0])
    assert site.count(Action.LIKING, ids[0]) == 0


def test_an_exposure_that_both_releases_stored_is_counted_once_in_the_end(site: Site) -> None:
    """A daemon before that folds a repetition does not see the row of today."""
    ids = site.articles(2)
    record_batch(site.redis, READER, CHANNEL, ids=ids, now_ms=STAMP_MS)
    seen = site.tracker.issue(Shown(Action.EXPOSURE, READER, CHANNEL, STAMP_MS), site.clock())
    site.report(seen)
    site.fold()
    store_as_before(site, batch(ids))
    assert [site.counts(article_id)["exposure"] for article_id in ids] == [2, 2]

    convert_all(site)
    assert [site.counts(article_id)["exposure"] for article_id in ids] == [1, 1]
    assert len(site.exposures()) == 1


def test_both_forms_are_read_until_all_is_converted(site: Site) -> None:
    """By the recount, by what trains, and by what tells the demo's readers."""
    old, new = site.articles(2), site.articles(1)
    store_as_before(site, batch(old, NOW_MS - 1000))
    record_batch(site.redis, READER, CHANNEL, ids=new, now_ms=STAMP_MS)
    site.report(site.tracker.issue(Shown(Action.EXPOSURE, READER, CHANNEL, STAMP_MS), site.clock()))
    site.fold()

    assert recount(site.engine, moment(0), lambda: False) == 0
    with site.engine.connect() as conn:
        pieces = [piece for piece in exposures_since(conn, moment(0)) if piece]
        assert [[list(seen.article_ids) for seen in piece] for piece in pieces] == [[old], [new]]
        assert find_instant_readers(conn, old) == [READER]
        assert find_instant_readers(conn, [*old, *new]) == []
    with transaction(site.engine) as conn:
        conn.execute(delete(exposure))
    assert recount(site.engine, moment(0), lambda: False) == 1
    assert site.counts(new[0])["exposure"] == 0


def test_two_likings_of_one_reader_become_one_mark(site: Site) -> None:
    """Before, each batch's token counted; now an article is liked once, so one is taken back."""
    article_id = site.article()
    store_as_before(
        site,
        [
            Shown(Action.LIKING, READER, CHANNEL, stamp_ms, article_id)
            for stamp_ms in (STAMP_MS, STAMP_MS + 1)
        ],
    )
    convert_all(site)

    assert site.marks_on(article_id) == {Action.LIKING}
    assert site.counts(article_id)["liking"] == 1
    assert recount(site.engine, moment(0), lambda: False) == 0
