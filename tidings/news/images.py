"""Pictures that are kept here: a file named by its content, and a row that says what it is.

A file never changes, so it may be cached for ever, and the same picture of ten articles is kept
once. All are WebP, so that a web server can send them without asking what they are. Rejected: the
bytes in a column; every picture that is shown would pass through the database.

    images = Images(var_dir / FOLDER)
    images.write(picture.digest, picture.data)
    with transaction(engine) as conn:
        record_image(conn, Image(picture.digest, 800, 450, size=70_000), at=now, ...)
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    delete,
    exists,
    func,
    insert,
    select,
    tuple_,
    update,
)

from tidings.news.articles import Articles
from tidings.news.tables import article, image
from tidings.process.durable import write_synced
from tidings.store.engine import database_now, transaction

# Below VAR_DIR.
FOLDER = "images"
MEDIA_TYPE = "image/webp"
# Who brought the pictures that articles' sources name.
COVERS_JOB = "job:covers"
# What is brought before the article that shows it is written, is left alone for so long.
GRACE = timedelta(days=1)
# When so much of the room is taken, what no article shows goes.
NEARLY_FULL = 0.95
_CHUNK = 100
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class ImagesFullError(Exception):
    """There is no room for another picture, by TIDINGS_IMAGES_MAX_MIB."""


class ImageNotFoundError(Exception):
    """No picture of this name is kept here."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"there is no picture {digest}")


class Image(NamedTuple):
    """A picture that is kept here; `size` is in bytes."""

    digest: str
    width: int
    height: int
    size: int


class Images:
    """The files: `ab/abcd…` below one folder.

    Args:
        folder: made when the first picture is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, digest: str, data: bytes) -> None:
        """Keep a picture. Done twice, it is there once.

        Raises:
            OSError: there is no room on the disk, or nothing may be written there.
        """
        path = self._path(digest)
        if path.exists():
            return
        for folder in (self._folder, path.parent):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        unfinished = path.with_name(f".{digest}.{secrets.token_hex(4)}")
        try:
            write_synced(unfinished, data, mode=0o644)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    def read(self, digest: str) -> bytes | None:
        """The picture; None where there is none of this name."""
        if _DIGEST.fullmatch(digest) is None:
            return None
        try:
            return self._path(digest).read_bytes()
        except FileNotFoundError:
            return None

    def make_room(self, engine: Engine, *, now: datetime, max_bytes: int) -> bool:
        """Let the oldest pictures go that no article shows, if there is hardly room for more; False
        if there is hardly room all the same."""
        with engine.connect() as conn:
            excess = used_bytes(conn) - int(max_bytes * NEARLY_FULL)
        for found in _find_unused(engine, now - GRACE) if excess > 0 else ():
            if self.remove_unused(engine, found.digest):
                excess -= found.size
            if excess <= 0:
                break
        return excess <= 0

    def remove_unused(self, engine: Engine, digest: str) -> bool:
        """Delete a picture that no article shows; False if it stays."""
        with transaction(engine) as conn:
            is_gone = _delete_unused(conn, digest)
        if is_gone:
            self._path(digest).unlink(missing_ok=True)
        return is_gone

    def sweep(self, engine: Engine) -> int:
        """Delete files that no row knows, which a crash leaves behind; returns how many."""
        old_s = time.time() - GRACE.total_seconds()
        swept = 0
        for folder in sorted(self._folder.glob("[0-9a-f][0-9a-f]")):
            names = [path.name for path in folder.iterdir()]
            with engine.connect() as conn:
                known = _known(conn, [name for name in names if _DIGEST.fullmatch(name)])
            for name in set(names) - known:
                with suppress(FileNotFoundError):
                    if (folder / name).stat().st_mtime < old_s:
                        (folder / name).unlink()
                        swept += 1
        return swept

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest


def record_image(
    conn: Connection, found: Image, *, added_by: str, at: datetime, max_bytes: int
) -> None:
    """Say that a picture is kept here, once its file is.

    Args:
        conn: in a transaction of the caller's.
        found: the picture.
        added_by: who brought it, as the audit log names people and jobs.
        at: now.
        max_bytes: of all pictures.

    Raises:
        ImagesFullError: there is no room for it.
    """
    if _known(conn, [found.digest]):
        return
    if used_bytes(conn) + found.size > max_bytes:
        raise ImagesFullError(f"the pictures here have {max_bytes} bytes already")
    statement = insert(image).prefix_with("OR IGNORE", dialect="sqlite")
    for dialect in ("mysql", "mariadb"):  # Another transaction may just have recorded it.
        statement = statement.prefix_with("IGNORE", dialect=dialect)
    values = {**found._asdict(), "type": MEDIA_TYPE, "added_by": added_by, "added_at": at}
    conn.execute(statement, values)


def find_image(conn: Connection, digest: str) -> Image | None:
    """The picture of this name, if it is kept here."""
    query = select(*(image.c[name] for name in Image._fields)).where(image.c.digest == digest)
    row = conn.execute(query).first()
    return Image(*row) if row else None


def find_covers(conn: Connection, article_ids: Collection[int]) -> dict[int, str]:
    """Article id → the picture that is kept here as its cover, for those that have one."""
    query = select(article.c.id, article.c.image).where(article.c.id.in_(list(article_ids)))
    return {row.id: row.image for row in conn.execute(query.where(article.c.image.is_not(None)))}


def set_cover(conn: Connection, article_id: int, digest: str, articles: Articles) -> None:
    """Show a picture that is kept here as this article's cover."""
    changed = update(article).where(article.c.id == article_id)
    conn.execute(changed.values(image=digest, updated_at=database_now(conn)))
    articles.forget_after(conn, [article_id])


def used_bytes(conn: Connection) -> int:
    """How many bytes all pictures have."""
    return int(conn.scalar(select(func.sum(image.c.size))) or 0)


def _known(conn: Connection, digests: Collection[str]) -> set[str]:
    return set(conn.scalars(select(image.c.digest).where(image.c.digest.in_(digests))))


def _is_cover() -> ColumnElement[bool]:
    return exists().where(article.c.image == image.c.digest)


def _find_unused(engine: Engine, before: datetime) -> Iterator[Image]:
    """Pictures that are no article's cover, the oldest first. They may stand in a body."""
    after = (datetime.min.replace(tzinfo=before.tzinfo), "")
    place = tuple_(image.c.added_at, image.c.digest)
    query = (
        select(image)
        .where(image.c.added_at < before, ~_is_cover())
        .order_by(image.c.added_at, image.c.digest)
        .limit(_CHUNK)
    )
    while True:
        with engine.connect() as conn:
            rows = conn.execute(query.where(place > after)).all()
        for row in rows:
            yield Image(row.digest, row.width, row.height, size=row.size)
        if len(rows) < _CHUNK:
            return
        after = (rows[-1].added_at, rows[-1].digest)


def _delete_unused(conn: Connection, digest: str) -> bool:
    """Forget a picture, unless an article shows it by now, as its cover or in its text."""
    added_by = conn.scalar(
        select(image.c.added_by).where(image.c.digest == digest, ~_is_cover()).with_for_update()
    )
    if added_by is None:
        return False
    # Only editors and authors can name a picture in a text; that look reads every body.
    if added_by != COVERS_JOB and conn.scalar(
        select(exists().where(article.c.body.contains(f"/images/{digest}")))
    ):
        return False
    conn.execute(delete(image).where(image.c.digest == digest))
    return True
