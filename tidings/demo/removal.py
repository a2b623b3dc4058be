"""Takes the demo away from a site, and nothing else.

The demo's articles are known by their source ids, its editions by title and price, its readers by
what no real one does: every exposure was reported in the very millisecond in which its batch was
made. So the demo of an earlier release is found as well. The articles are taken down first and
deleted a little later: processes that keep articles in memory follow changes, and a row that is
gone is no change.

    remove_demo(engine, articles, shelf, actor="shell:ada")  # "demo: 150 articles, ..."
"""

from __future__ import annotations

from time import sleep

from sqlalchemy import Connection, Engine

from tidings.demo.illustrating import Shelf
from tidings.demo.load import EDITIONS, source_ids
from tidings.editing.audit import note
from tidings.news.articles import Articles
from tidings.news.images import find_covers
from tidings.news.publishing import take_down
from tidings.news.removal import LET_GO_S, close_empty_channels, delete_articles
from tidings.news.storing import find_ids
from tidings.reading.stored import find_instant_readers, remove_readers
from tidings.shop.stock import find_products, withdraw
from tidings.sources.owning import find_delivering
from tidings.store.engine import transaction

# As the audit log names it.
REMOVE = "remove"


def remove_demo(engine: Engine, articles: Articles, shelf: Shelf, *, actor: str) -> str:
    """Remove what `load_demo` brought; what readers did with other articles stays.

    Run again after it was interrupted, it removes the rest.

    Args:
        engine: the database.
        articles: told of each article that goes.
        shelf: where their covers are kept.
        actor: who removes it, as the audit log names them.

    Returns:
        A line that says what is gone.
    """
    with transaction(engine) as conn:
        ids = find_ids(conn, source_ids())
        editions = _withdraw_editions(conn)
        for article_id in ids:
            take_down(conn, article_id, articles)
        if ids or editions:
            note(conn, actor, REMOVE, "demo", None)
    if not ids and not editions:
        return "demo: there is none on this site"
    if ids:
        sleep(LET_GO_S)
    with transaction(engine) as conn:
        covers = find_covers(conn, ids)
        readers = find_instant_readers(conn, ids)
        remove_readers(conn, readers)
        stood_in = delete_articles(conn, ids, articles)
        unused = [id_ for id_ in stood_in if find_delivering(conn, id_) is None]
        close_empty_channels(conn, unused)
    for digest in set(covers.values()):
        shelf.images.remove_unused(engine, digest)
    return f"demo: {len(ids)} articles, {editions} editions and {len(readers)} readers removed"


def _withdraw_editions(conn: Connection) -> int:
    demos = {(title, price_cents) for title, price_cents, _ in EDITIONS}
    # What was ordered of them stays ordered, so they are withdrawn rather than deleted.
    found = [
        product.product_id
        for product in find_products(conn, limit=1000)
        if (product.title, product.price_cents) in demos
    ]
    for product_id in found:
        withdraw(conn, product_id)
    return len(found)
