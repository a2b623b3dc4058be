"""Fills an empty site with the demo, as if it had been running for days."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.resources import files
from itertools import islice
from typing import Any

from sqlalchemy import Engine, func, select

from tidings.demo.readers import Item, simulate
from tidings.importing import import_rows
from tidings.news.tables import article
from tidings.process.clock import Clock, milliseconds, moment
from tidings.reading.behaviour import store_rows, to_row
from tidings.reading.tables import behaviour
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


def is_empty(engine: Engine) -> bool:
    """True for a site without a single article."""
    with engine.connect() as conn:
        return conn.scalar(select(func.count()).select_from(article)) == 0


def load_demo(engine: Engine, clock: Clock) -> str:
    """Import the demo's articles and simulate their readers; running it again only gives the
    articles new dates.

    Returns:
        A line that says what is there now.
    """
    now = moment(clock())
    report = import_rows(_rows(now), engine, clock=clock)
    articles = f"demo: {report.counts.rows - report.counts.rejected} articles"
    with engine.connect() as conn:
        if conn.scalar(select(behaviour.c.id).limit(1)) is not None:
            return f"{articles}; there are readers already"
        on_sale = bool(find_products(conn, limit=1))
    if not on_sale:
        with transaction(engine) as conn:
            for title, price_cents, pieces in EDITIONS:
                receive(conn, add_product(conn, title, price_cents, "EUR"), pieces, delivery=1)
    acts = simulate(_items(engine), readers=READERS, days=DAYS, now_ms=clock(), seed=SEED)
    stored = 0
    while chunk := list(islice(acts, CHUNK)):
        with transaction(engine) as conn:
            stored += store_rows(conn, [to_row(act.shown, act.at_ms, act.read_ms) for act in chunk])
    return (
        f"{articles}, {len(EDITIONS)} editions on sale, {stored} acts of {READERS} simulated "
        "readers"
    )


def _rows(now: datetime) -> Iterator[dict[str, Any]]:
    """The rows of `articles/*.jsonl`, with `hours_ago` turned into a moment."""
    for file in sorted(
        files("tidings.demo").joinpath("articles").iterdir(), key=lambda file: file.name
    ):
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            row["published"] = (now - timedelta(hours=row.pop("hours_ago"))).isoformat()
            row["source"] = "demo"
            yield row


def _items(engine: Engine) -> list[Item]:
    with engine.connect() as conn:
        rows = conn.execute(
            select(article.c.id, article.c.channel_id, article.c.published_at)
            .where(article.c.source_id.like("%demo-%"))
            .order_by(article.c.id)
        )
        return [Item(row.id, row.channel_id, milliseconds(row.published_at)) for row in rows]
