"""Fills an empty site with the demo, as if it had been running for days.

Rejected: a dump of a database, which the next migration makes useless.

    load_demo(engine, articles, shelf, now_ms, actor="shell:ada")  # "demo: 150 articles, ..."
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.resources import files
from itertools import islice
from typing import Any

from sqlalchemy import Engine

from tidings.demo.illustrating import Shelf, add_covers
from tidings.demo.readers import Item, simulate
from tidings.editing.audit import note
from tidings.importing import import_rows
from tidings.importing.rows import name_source_id
from tidings.news.articles import Articles
from tidings.news.listing import read_dated
from tidings.news.storing import find_ids, find_stored
from tidings.process.clock import Clock, milliseconds, moment
from tidings.reading.stored import has_behaviours
from tidings.reading.storing import Placed, store_events
from tidings.shop.stock import add_product, find_products, receive
from tidings.store.engine import transaction

READERS = 200
DAYS = 3
SEED = 20_171_001
CHUNK = 2000
# Paid editions: title, price of one in cents, how many there are.
EDITIONS = [
    ("The weekend edition, printed", 450, 40),
    ("The year in a hundred articles, bound", 3200, 5),
]


def load_demo(engine: Engine, articles: Articles, shelf: Shelf, clock: Clock, *, actor: str) -> str:
    """Import the demo's articles and simulate their readers; running it again only gives the
    articles new dates.

    Args:
        engine: the database.
        articles: told of each article that is new or changed.
        shelf: where their covers are kept.
        clock: now, in ms since the epoch.
        actor: who loads it, as the audit log names them.

    Returns:
        A line that says what is there now.
    """
    now = moment(clock())
    with transaction(engine) as conn:
        note(conn, actor, "load", "demo", None)
    report = import_rows(read_demo(now), engine, clock=clock, on_change=articles.forget)
    add_covers(engine, shelf, articles, _find_drawn(engine, now), at=now)
    imported = f"demo: {report.counts.rows - report.counts.rejected} articles"
    with engine.connect() as conn:
        if has_behaviours(conn):
            return f"{imported}; there are readers already"
        on_sale = bool(find_products(conn, limit=1))
    if not on_sale:
        with transaction(engine) as conn:
            for title, price_cents, pieces in EDITIONS:
                receive(conn, add_product(conn, title, price_cents, "EUR"), pieces, delivery=1)
    events = simulate(_items(engine), readers=READERS, days=DAYS, now_ms=clock(), seed=SEED)
    stored = 0
    while chunk := list(islice(events, CHUNK)):
        with transaction(engine) as conn:
            stored += store_events(conn, [Placed(event.at_ms << 20, event) for event in chunk])
    return (
        f"{imported}, {len(EDITIONS)} editions on sale, {stored} acts of {READERS} simulated "
        "readers"
    )


def read_demo(now: datetime) -> Iterator[dict[str, Any]]:
    """The rows of `articles/*.jsonl`, with `hours_ago` turned into a moment."""
    for file in sorted(
        files("tidings.demo").joinpath("articles").iterdir(), key=lambda file: file.name
    ):
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            row["published"] = (now - timedelta(hours=row.pop("hours_ago"))).isoformat()
            row["source"] = "demo"
            yield row


def source_ids() -> list[str]:
    """What identifies the demo's articles."""
    return [name_source_id(row["source"], row["id"]) for row in read_demo(moment(0))]


def _find_drawn(engine: Engine, now: datetime) -> dict[int, tuple[str, str]]:
    """Article id → the channel and the id within the demo by which its cover is drawn."""
    rows = {name_source_id(row["source"], row["id"]): row for row in read_demo(now)}
    with engine.connect() as conn:
        stored = find_stored(conn, list(rows))
    return {
        known.article_id: (rows[source_id]["channel"], rows[source_id]["id"])
        for source_id, known in stored.items()
    }


def _items(engine: Engine) -> list[Item]:
    with engine.connect() as conn:
        return [
            Item(
                article_id=row.article_id,
                channel_id=row.channel_id,
                published_ms=milliseconds(row.published_at),
            )
            for row in read_dated(conn, find_ids(conn, source_ids()))
        ]
