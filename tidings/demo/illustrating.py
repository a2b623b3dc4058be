"""Gives the demo's articles their covers.

They are kept as the covers of any source are, so that a visitor of the demo sees what the site does
with pictures. An article that has a cover keeps it: another way of drawing changes nothing on a
site that runs. Rejected: pictures among the files of the reader's page, which need a rule of their
own on every path.

    add_covers(engine, shelf, articles, {42: ("nature", "demo-nature-01")}, at=now)
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Engine

from tidings.demo.covers import HEIGHT, WIDTH, draw_cover
from tidings.importing.pictures import Picture
from tidings.news.articles import Articles
from tidings.news.images import (
    COVERS_JOB,
    Image,
    Images,
    ImagesFullError,
    find_covers,
    record_image,
    set_cover,
)
from tidings.store.engine import transaction


class Shelf(NamedTuple):
    """Where pictures are kept, and how many bytes of them."""

    images: Images
    max_bytes: int


def add_covers(
    engine: Engine,
    shelf: Shelf,
    articles: Articles,
    drawn: Mapping[int, tuple[str, str]],
    *,
    at: datetime,
) -> None:
    """Draw a cover for each of these articles that has none.

    A site that has no room for more pictures goes without. Files that were written for nothing go
    as all do that no row knows.

    Args:
        engine: the database.
        shelf: where the covers are kept.
        articles: told of each article that gets one.
        drawn: article id → its channel and its id within the demo.
        at: now.

    Raises:
        OSError: the files cannot be written.
    """
    with engine.connect() as conn:
        have = find_covers(conn, drawn).keys()
    # Drawn and written before the transaction begins: both take longer than a writer may hold it.
    kept = {id_: _draw(shelf.images, *drawn[id_]) for id_ in sorted(drawn.keys() - have)}
    with transaction(engine) as conn, suppress(ImagesFullError):
        for article_id, found in kept.items():
            record_image(conn, found, added_by=COVERS_JOB, at=at, max_bytes=shelf.max_bytes)
            set_cover(conn, article_id, found.digest, articles)


def _draw(images: Images, channel: str, article_key: str) -> Image:
    drawing = Picture(draw_cover(channel, article_key), WIDTH, HEIGHT)
    images.write(drawing.digest, drawing.data)
    return Image(drawing.digest, WIDTH, HEIGHT, size=len(drawing.data))
