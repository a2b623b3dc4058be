"""Pictures that are kept here, as files and as rows."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from tests.lab.newsroom import Clock, Newsroom
from tidings.news import images as module
from tidings.news.images import (
    COVERS_JOB,
    Image,
    Images,
    ImagesFullError,
    find_image,
    record_image,
    used_bytes,
)
from tidings.news.tables import article, image
from tidings.store.engine import transaction

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
SIZE = 1000
ROOM = 10 * SIZE


class Shelf:
    """A folder of pictures with their rows."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.folder = engine, folder
        self.images = Images(folder)

    def keep(self, number: int, *, days_ago: int, added_by: str = COVERS_JOB) -> str:
        data = number.to_bytes(SIZE, "big")
        digest = hashlib.sha256(data).hexdigest()
        self.images.write(digest, data)
        with transaction(self.engine) as conn:
            record_image(
                conn,
                Image(digest, 300, 200, SIZE),
                added_by=added_by,
                at=NOW - timedelta(days=days_ago),
                max_bytes=ROOM,
            )
        return digest

    def make_room(self) -> bool:
        return self.images.make_room(self.engine, now=NOW, max_bytes=ROOM)

    def rows(self) -> set[str]:
        with self.engine.connect() as conn:
            return set(conn.scalars(select(image.c.digest)))

    def files(self) -> set[str]:
        return {path.name for path in self.folder.glob("*/*")}


@pytest.fixture
def shelf(engine: Engine, tmp_path: Path) -> Shelf:
    return Shelf(engine, tmp_path / "images")


@pytest.fixture
def newsroom(engine: Engine) -> Newsroom:
    room = Newsroom(engine, Clock())
    room.channels(1)
    return room


def test_a_picture_is_kept_once_and_read_by_its_name(shelf: Shelf) -> None:
    """Others may read it, and nothing unfinished stays."""
    digest = shelf.keep(1, days_ago=0)
    assert shelf.keep(1, days_ago=0) == digest
    data = shelf.images.read(digest)
    assert data is not None
    assert hashlib.sha256(data).hexdigest() == digest
    assert shelf.files() == shelf.rows() == {digest}
    path = shelf.folder / digest[:2] / digest
    assert [p.stat().st_mode & 0o777 for p in (path, path.parent, shelf.folder)] == [
        0o644,
        0o755,
        0o755,
    ]
    with shelf.engine.connect() as conn:
        assert find_image(conn, digest) == Image(digest, 300, 200, SIZE)
        assert find_image(conn, "0" * 64) is None


def test_nothing_but_a_digest_is_a_name(shelf: Shelf) -> None:
    """No path leads out of the folder."""
    shelf.keep(1, days_ago=0)
    (shelf.folder.parent / "secret").write_text("secret")
    for name in ("../secret", "..", "", "x" * 64, "0" * 64 + "\n", "0" * 63):
        assert shelf.images.read(name) is None


def test_two_that_bring_one_picture_at_once_keep_it_once(shelf: Shelf) -> None:
    with ThreadPoolExecutor(4) as pool:
        kept = set(pool.map(lambda _: shelf.keep(5, days_ago=0), range(8)))
    assert shelf.rows() == shelf.files() == kept


def test_of_a_full_shelf_the_oldest_that_no_article_shows_go_first(
    shelf: Shelf, newsroom: Newsroom
) -> None:
    """Not the cover of an article, not one in a text, and not one of today."""
    digests = [shelf.keep(number, days_ago=30 - number) for number in range(8)]
    today = shelf.keep(8, days_ago=0)
    in_text = shelf.keep(9, days_ago=40, added_by="key:paper")
    shown, other = newsroom.article(), newsroom.article(body=f'<img src="/images/{in_text}">')
    with transaction(shelf.engine) as conn:
        conn.execute(update(article).where(article.c.id == shown).values(image=digests[0]))
    assert other != shown
    with transaction(shelf.engine) as conn, pytest.raises(ImagesFullError):
        record_image(conn, Image("f" * 64, 9, 9, 1), added_by="me", at=NOW, max_bytes=ROOM)

    assert shelf.make_room()

    assert {*digests, today, in_text} - shelf.rows() == {digests[1]}
    assert shelf.files() == shelf.rows()
    with shelf.engine.connect() as conn:
        assert used_bytes(conn) == 9 * SIZE
    assert shelf.make_room()
    assert len(shelf.rows()) == 9


def test_what_is_found_unused_in_many_looks_is_found(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those in texts stand at the front of the line, and keep none behind them from going."""
    monkeypatch.setattr(module, "_CHUNK", 2)
    room = Newsroom(shelf.engine, Clock())
    room.channels(1)
    for number in range(5):
        digest = shelf.keep(number, days_ago=50, added_by="shell:me")
        room.article(body=f"/images/{digest}")
    covers = [shelf.keep(number, days_ago=20) for number in range(5, 10)]
    assert shelf.make_room()
    assert len({*covers} & shelf.rows()) == 4


def test_files_without_a_row_are_swept_after_a_day(shelf: Shelf) -> None:
    """A crash between the file and its row leaves one, and one in the midst of writing another."""
    kept = shelf.keep(1, days_ago=9)
    strays = ["ab" + "0" * 62, ".ab" + "1" * 62 + ".77"]
    (shelf.folder / "ab").mkdir(exist_ok=True)
    for name in strays:
        (shelf.folder / "ab" / name).write_bytes(b"x")
    assert shelf.images.sweep(shelf.engine) == 0
    for path in shelf.folder.glob("*/*"):
        os.utime(path, (0, 0))
    assert shelf.images.sweep(shelf.engine) == 2
    assert shelf.files() == {kept}
