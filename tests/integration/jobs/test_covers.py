"""Covers from the servers of strangers onto the site's own shelf."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from PIL import Image
from redis import Redis
from sqlalchemy import Engine, delete, insert, select, update

from jobs.static.context import Context, JobFailedError, Routine, Run
from jobs.static.runs import read_now
from jobs.work import covers
from tests.lab.newsroom import Clock, Newsroom
from tests.lab.web import Web, serve_web
from tidings.editing.records import digest
from tidings.importing.fetching import Fetched, fetch
from tidings.news.articles import Articles
from tidings.news.due_covers import PAUSES
from tidings.news.images import FOLDER, Images, record_image
from tidings.news.images import Image as Picture
from tidings.news.listing import read_record
from tidings.news.tables import article, cover_due
from tidings.process.clock import now_ms
from tidings.store.engine import transaction


def draw(width: int = 400, kind: str = "PNG") -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (width, 100), "teal").save(target, kind)
    return target.getvalue()


@pytest.fixture
def web() -> Iterator[Web]:
    with serve_web() as served:
        yield served


class Desk:
    """Articles whose covers are due, and the job that fetches them."""

    def __init__(self, engine: Engine, redis: Redis, make_settings: Any, folder: Path) -> None:
        self.engine, self.redis, self.folder = engine, redis, folder
        self.stopping = threading.Event()
        self._make_settings = make_settings
        self._newsroom = Newsroom(engine, Clock())
        self._newsroom.channels(1)
        self.articles = Articles(engine, redis, card_ttl_s=300, clock=now_ms)
        with engine.connect() as conn:
            self.now = read_now(conn)

    def article(self, cover: str, *, due_s: int = 1) -> int:
        """One whose cover is due for so many seconds."""
        return self.many(1, cover, due_s=due_s)[0]

    def many(self, number: int, cover: str, *, due_s: int = 1) -> list[int]:
        published_ms = int(self.now.timestamp() * 1000) - 1000
        ids = self._newsroom.articles(number, cover=cover, published_ms=published_ms)
        due_at = self.now - timedelta(seconds=due_s)
        with transaction(self.engine) as conn:
            conn.execute(insert(cover_due), [{"article_id": id_, "due_at": due_at} for id_ in ids])
        return ids

    def fetch(self, now: datetime | None = None, **settings: Any) -> str:
        """A run of the job; what it says."""
        chosen = self._make_settings(
            var_dir=self.folder, **{"fetch_private_addresses": True, **settings}
        )
        context = Context(self.engine, self.redis, chosen, "me", stopping=self.stopping)
        return covers.fetch_covers(Run(context, now or self.now, now or self.now))

    def shown(self, article_id: int) -> str | None:
        return self.articles.cards([article_id])[article_id].cover

    def due(self) -> dict[int, tuple[datetime, int]]:
        """Article → when its cover is due, and how often it was tried."""
        with self.engine.connect() as conn:
            return {
                row.article_id: (row.due_at, row.tries) for row in conn.execute(select(cover_due))
            }


@pytest.fixture
def desk(
    engine: Engine,
    redis_client: Redis,
    make_settings: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    monkeypatch.setattr(covers, "PAUSE_S", 0)
    return Desk(engine, redis_client, make_settings, tmp_path)


def test_a_cover_is_fetched_and_shown_from_here(desk: Desk, web: Web) -> None:
    """The card that a cache holds changes too, and nothing is due any more."""
    url = web.serve("/tide.png", draw(2000), "image/png")
    id_ = desk.article(url)
    assert desk.shown(id_) is None  # plain HTTP

    assert desk.fetch().startswith("covers: 1 kept")

    shown = desk.shown(id_)
    assert shown is not None
    assert shown.startswith("/images/")
    data = Images(desk.folder / FOLDER).read(shown.removeprefix("/images/"))
    assert data is not None
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("WEBP", (1200, 60))
    assert desk.due() == {}
    assert isinstance(desk.fetch(), Routine)
    assert web.asked == ["/tide.png"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/page", b"<html>Not here</html>"),
        ("/drawing", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("/pixel", draw(1)),
        ("/icon", draw(199)),
        ("/cut", draw()[:60]),
    ],
)
def test_what_is_no_cover_is_not_asked_for_again(
    desk: Desk, web: Web, path: str, body: bytes
) -> None:
    id_ = desk.article(web.serve(path, body, "image/png"))
    assert "1 refused" in desk.fetch()
    assert desk.due() == {}
    assert desk.shown(id_) is None


def test_what_cannot_be_had_is_tried_again_and_given_up_in_the_end(desk: Desk, web: Web) -> None:
    """Each time later; the article goes on without, or with a link by HTTPS."""
    id_ = desk.article(web.url("/gone.png"))
    now = desk.now
    for tries, pause in enumerate(PAUSES, start=1):
        assert "1 failed" in desk.fetch(now)
        assert desk.due() == {id_: (now + pause, tries)}
        assert isinstance(desk.fetch(now), Routine)  # not before its time
        now += pause
    assert "1 given up" in desk.fetch(now)
    assert desk.due() == {}
    assert len(web.asked) == len(PAUSES) + 1


def test_a_machine_of_the_own_network_is_not_asked(desk: Desk, web: Web) -> None:
    """The owner of any feed could have this machine ask its neighbours."""
    id_ = desk.article(web.serve("/inside.png", draw(), "image/png"))
    assert "1 failed" in desk.fetch(fetch_private_addresses=False)
    assert web.asked == []
    assert desk.due()[id_][1] == 1


def test_a_host_that_does_not_answer_holds_up_its_own_pictures_alone(
    desk: Desk, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked once; its other pictures wait without a try."""

    def fetch_soon(url: str, target: BinaryIO, **named: Any) -> Fetched:
        # The good one has the usual time.
        hasty = {"deadline_s": 0.3} if url.endswith("/drip") else {}
        return fetch(url, target, **named | hasty)

    monkeypatch.setattr(covers, "fetch", fetch_soon)
    gone = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while not gone.wait(0.02):
                request.wfile.write(b"x")
        except OSError:
            gone.set()

    web.answers["/drip"] = drip
    slow = [desk.article(web.url("/drip")) for _ in range(3)]
    good_url = web.serve("/good.png", draw(), "image/png").replace("127.0.0.1", "localhost")
    good = desk.article(good_url)
    try:
        told = desk.fetch()
    finally:
        gone.set()

    assert "1 kept" in told
    assert "1 failed" in told
    assert "2 postponed" in told
    assert desk.shown(good) is not None
    assert web.asked.count("/drip") <= 1, "not even once if the time was over before"
    assert sorted(tries for _, tries in desk.due().values()) == [0, 0, 1]
    assert set(desk.due()) == set(slow)


def test_a_picture_that_is_too_large_holds_up_no_other_of_its_host(
    desk: Desk, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host answers."""
    monkeypatch.setattr(covers, "MAX_BYTES", 10_000)
    large = desk.article(web.serve("/large.png", b"x" * 10_001, "image/png"))
    desk.article(web.serve("/good.png", draw(), "image/png"))
    told = desk.fetch()
    assert "1 kept" in told
    assert "0 postponed" in told
    assert set(desk.due()) == {large}


def test_a_host_of_many_covers_hides_no_other_host(
    desk: Desk, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A feed's first import names a thousand, all of one host; those of the others come first."""
    monkeypatch.setattr(covers, "HOSTS_AT_ONCE", 1)
    desk.many(1000, web.url("/many.png"), due_s=2)
    url = web.serve("/good.png", draw(), "image/png").replace("127.0.0.1", "localhost")
    good = desk.article(url)

    def answer_one(request: BaseHTTPRequestHandler) -> None:
        desk.stopping.set()
        request.send_error(404)

    web.answers["/many.png"] = answer_one
    desk.fetch()
    assert web.asked == ["/good.png", "/many.png"]
    assert desk.shown(good) is not None


def test_more_covers_than_a_run_looks_at_hide_no_other_for_ever(
    desk: Desk, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run did not come to is behind the others in the next."""
    url = web.serve("/x.png", draw(), "image/png")
    desk.many(2, url, due_s=2)
    last = desk.article(url)
    monkeypatch.setattr(covers, "MOST_COVERS", 2)
    monkeypatch.setattr(covers, "RUN_S", -1)
    desk.fetch()
    assert web.asked == []
    monkeypatch.setattr(covers, "RUN_S", 45)
    desk.fetch()
    assert desk.shown(last) is not None


def test_a_cover_that_changes_meanwhile_is_not_overwritten(desk: Desk, web: Web) -> None:
    """The picture of before would stand with the address of now."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        with transaction(desk.engine) as conn:
            conn.execute(update(article).values(cover="https://x.example/new.png"))
        body = draw()
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    web.answers["/old.png"] = answer
    id_ = desk.article(web.url("/old.png"))
    desk.fetch()
    assert desk.shown(id_) == "https://x.example/new.png"
    assert set(desk.due()) == {id_}


def test_an_editor_who_writes_meanwhile_has_lost_nothing(desk: Desk, web: Web) -> None:
    """What an editor read before the picture came is still the newest that anyone has decided."""
    id_ = desk.article(web.serve("/x.png", draw(), "image/png"))
    with desk.engine.connect() as conn:
        before = read_record(conn, id_)
    desk.fetch()
    with desk.engine.connect() as conn:
        after = read_record(conn, id_)
    assert before.updated_at != after.updated_at
    assert digest(before) == digest(after)


def test_covers_may_be_left_where_they_are(desk: Desk, web: Web) -> None:
    """By setting; what is due stays so, for a site that decides otherwise one day."""
    id_ = desk.article(web.serve("/x.png", draw(), "image/png"))
    assert isinstance(desk.fetch(covers="linked"), Routine)
    assert web.asked == []
    assert set(desk.due()) == {id_}


def test_where_all_pictures_are_shown_new_ones_wait(desk: Desk, web: Web) -> None:
    """No stranger's server is asked each minute for what there is no room for."""
    shown = desk.article("https://x.example/a.png")
    large = Picture("e" * 64, 400, 300, size=1024**2)
    with transaction(desk.engine) as conn:
        record_image(conn, large, added_by="me", at=desk.now, max_bytes=large.size)
        conn.execute(update(article).where(article.c.id == shown).values(image=large.digest))
        conn.execute(delete(cover_due))
    id_ = desk.article(web.serve("/x.png", draw(), "image/png"))
    with pytest.raises(JobFailedError, match="TIDINGS_IMAGES_MAX_MIB"):
        desk.fetch(images_max_mib=1)
    assert isinstance(desk.fetch(images_max_mib=1), Routine)
    assert web.asked == []
    assert desk.due() == {id_: (desk.now + covers.WHEN_FULL, 0)}
    assert "1 kept" in desk.fetch(desk.now + covers.WHEN_FULL, images_max_mib=2)


def test_a_disk_that_takes_nothing_fails_the_job_and_loses_no_cover(desk: Desk, web: Web) -> None:
    id_ = desk.article(web.serve("/x.png", draw(), "image/png"))
    (desk.folder / FOLDER).write_text("in the way")
    with pytest.raises(JobFailedError, match="1 not written"):
        desk.fetch()
    assert desk.due()[id_][1] == 0
    (desk.folder / FOLDER).unlink()
    assert "1 kept" in desk.fetch()
