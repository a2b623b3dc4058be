"""What a worker learns beside its feeds, from the database: what articles say, and what readers
saw."""

from __future__ import annotations

import threading
from array import array
from unittest import mock

import pytest
from redis import Redis
from sqlalchemy import Engine, insert
from structlog.testing import capture_logs

from services.recommender import reading_texts
from services.recommender.catalogue import Catalogue
from services.recommender.exposures import Exposures
from services.recommender.following_exposures import LOOK_EVERY_S, ExposureFollower
from services.recommender.reading_texts import TextKeeper
from services.recommender.signals.folding import Signals
from services.recommender.tailing import Tail
from tests.lab.newsroom import HOUR_MS, NOW_MS, Clock, Newsroom
from tidings.news.texts import read_texts
from tidings.news.visibility import TAKEN_DOWN
from tidings.process.clock import moment
from tidings.reading import stored
from tidings.reading.stored import clicks_since
from tidings.reading.tables import behaviour, exposure
from tidings.store.engine import transaction

MINUTE_MS = 60_000


class Kept:
    """A catalogue and the texts beside it."""

    def __init__(self, newsroom: Newsroom, clock: Clock) -> None:
        self.newsroom = newsroom
        self.catalogue = Catalogue(newsroom.engine, clock, newsroom.read_now)
        self.keeper = TextKeeper(newsroom.engine, self.catalogue.view)

    def look(self) -> None:
        self.newsroom.clock.advance(1000)
        self.catalogue.refresh()
        self.keeper.refresh(threading.Event())

    def similar(self, article_id: int) -> list[int]:
        return [int(id_) for id_ in self.keeper.texts().similar(article_id, most=10)[0]]


@pytest.fixture
def kept(newsroom: Newsroom, clock: Clock) -> Kept:
    return Kept(newsroom, clock)


def test_articles_are_read_when_they_are_published_edited_and_taken_down(
    kept: Kept, newsroom: Newsroom
) -> None:
    ferry = newsroom.article(title="Ferry fares", summary="to the islands", body="<p>rise</p>")
    islands = newsroom.article(title="The islands", summary="by ferry", body="<p>late</p>")
    budget = newsroom.article(title="Budget", summary="of schools", body="<p>passed</p>")
    kept.look()
    assert kept.similar(ferry) == [islands]

    newsroom.change(budget, title="Ferry budget")
    kept.look()
    assert set(kept.similar(ferry)) == {islands, budget}

    newsroom.change(islands, status=TAKEN_DOWN)
    kept.look()
    assert kept.similar(ferry) == [budget]
    assert kept.similar(islands) == []


def test_a_tag_is_no_word_and_only_the_beginning_of_a_long_body_is_read(
    newsroom: Newsroom, engine: Engine
) -> None:
    article_id = newsroom.article(
        title="Title", summary="Summary", body=f"<p class='lead'>first</p>{'x' * 9000} last"
    )
    with engine.connect() as conn:
        text = read_texts(conn, [article_id, 404])[article_id]
    assert text.startswith("Title\nSummary\n first ")
    assert "lead" not in text
    assert "last" not in text


def test_a_text_that_is_no_utf8_or_no_text_holds_up_no_other(
    kept: Kept, newsroom: Newsroom, engine: Engine
) -> None:
    """SQLite holds what another program put there; the words that can be read are used."""
    spoilt, bytes_, ferry = (newsroom.article(title="Ferry", summary="x", body="") for _ in "123")
    with transaction(engine) as conn:
        spoil = "UPDATE article SET title = CAST(X'4665727279FF' AS TEXT) WHERE id = ?"
        conn.exec_driver_sql(spoil, (spoilt,))
        conn.exec_driver_sql("UPDATE article SET body = X'FF00' WHERE id = ?", (bytes_,))
    kept.look()
    assert set(kept.similar(ferry)) == {spoilt, bytes_}


def test_a_database_that_does_not_answer_ends_no_thread(
    kept: Kept, newsroom: Newsroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look fails, the second reads; the thread ends when it is told to."""
    newsroom.article()
    kept.catalogue.refresh()
    stop, failed = threading.Event(), threading.Event()
    real = read_texts

    def read_once_it_failed(conn: object, ids: object) -> dict[int, str]:
        if not failed.is_set():
            failed.set()
            raise OSError("gone")
        stop.set()
        return real(conn, ids)  # type: ignore[arg-type]

    monkeypatch.setattr(reading_texts, "read_texts", read_once_it_failed)
    monkeypatch.setattr(reading_texts, "LOOK_EVERY_S", 0.01)
    thread = threading.Thread(target=kept.keeper.keep, args=(stop,))
    thread.start()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert failed.is_set()
    assert len(kept.keeper.texts()) == 1


class Seen:
    """What readers saw, as the database has it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.number = 0

    def batch(self, article_ids: list[int], at_ms: int, reader_id: int = 7) -> None:
        self.number += 1
        row = {
            "event_id": self.number.to_bytes(16, "big"),
            "reader_id": reader_id,
            "channel_id": 0,
            "batch_stamp": at_ms + self.number,
            "at": moment(at_ms),
            "article_ids": array("q", article_ids).tobytes(),
            "sources": bytes(len(article_ids)),
        }
        with transaction(self.engine) as conn:
            conn.execute(insert(exposure), [row])

    def click(self, article_id: int, position: int, at_ms: int, reader_id: int = 7) -> None:
        self.number += 1
        row = {
            "event_id": self.number.to_bytes(16, "big"),
            "reader_id": reader_id,
            "article_id": article_id,
            "channel_id": 0,
            "action": "click",
            "position": position,
            "batch_stamp": at_ms,
            "at": moment(at_ms),
            "layout": 1,
        }
        with transaction(self.engine) as conn:
            conn.execute(insert(behaviour), [row])


def test_a_worker_learns_of_the_last_day_and_then_of_each_event_once(
    engine: Engine, clock: Clock
) -> None:
    seen, exposures = Seen(engine), Exposures()
    follower = ExposureFollower(engine, exposures, clock)
    seen.batch([1, 2], NOW_MS - 25 * HOUR_MS)
    seen.batch([1, 2, 3], NOW_MS - HOUR_MS)
    seen.click(3, 2, NOW_MS - HOUR_MS)
    follower.look()
    assert exposures.showings([1, 2, 3]).tolist() == [1, 1, 1]
    place = exposures.expected()[2]

    for _ in range(3):
        follower.look()
    assert exposures.showings([1, 2, 3]).tolist() == [1, 1, 1]
    assert exposures.expected()[2] == place

    # Two readers, in the same batch of time; the second is stored after the look that saw the
    # first.
    now_ms = clock.advance(int(LOOK_EVERY_S * 1000))
    seen.batch([3], now_ms, reader_id=8)
    follower.look()
    seen.batch([3], now_ms - MINUTE_MS // 2, reader_id=9)
    seen.click(3, 0, now_ms - MINUTE_MS // 2, reader_id=9)
    clock.advance(int(LOOK_EVERY_S * 1000))
    follower.look()
    assert exposures.showings([3]).tolist() == [3]


def test_a_row_that_cannot_be_read_keeps_no_worker_from_the_others(
    engine: Engine, redis: Redis, clock: Clock
) -> None:
    """Nor from starting: a moment that is none, a place that is no number, articles that are
    text."""
    seen, exposures, signals = Seen(engine), Exposures(), Signals(sessions=16)
    for minutes in range(4):
        seen.batch([1], NOW_MS - minutes * MINUTE_MS, reader_id=7 + minutes)
        seen.click(1, 0, NOW_MS - minutes * MINUTE_MS, reader_id=7 + minutes)
    with transaction(engine) as conn:
        for table in ("behaviour", "exposure"):
            spoil = f"UPDATE {table} SET at = '2026-11-31 00:00:00.000' WHERE reader_id = 7"
            conn.exec_driver_sql(spoil)
        conn.exec_driver_sql("UPDATE behaviour SET position = 'top' WHERE reader_id = 8")
        conn.exec_driver_sql("UPDATE exposure SET article_ids = '1,2' WHERE reader_id = 8")

    with mock.patch.object(stored, "_told", set()), capture_logs() as logs:
        follower = ExposureFollower(engine, exposures, clock)
        for _ in range(3):
            follower.look()
    assert exposures.showings([1]).tolist() == [2]
    assert [line["event"] for line in logs] == ["behaviour_left_out"] * 4
    Tail(redis, engine, signals, clock).catch_up(NOW_MS - HOUR_MS)
    assert len(signals) == 1
    # In pieces of one row, none is lost or met twice.
    with engine.connect() as conn:
        clicks = [one for piece in clicks_since(conn, moment(0), piece=1) for one in piece]
    assert [click.reader_id for click in clicks] == [10, 9]


def test_a_clock_that_is_set_back_counts_nothing_twice(engine: Engine, clock: Clock) -> None:
    seen, exposures = Seen(engine), Exposures()
    follower = ExposureFollower(engine, exposures, clock)
    seen.batch([1], NOW_MS - HOUR_MS)
    follower.look()
    clock.advance(-2 * HOUR_MS)
    follower.look()
    assert exposures.showings([1]).tolist() == [1]
