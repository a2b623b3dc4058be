"""What delayed jobs do, by the name that stands in the row.

A handler gets a batch of due rows of its kind inside one transaction and returns the rows that are
not to be done yet, with their new moments; all others are deleted with the commit. What it does
must therefore stand in the database: an outside effect would be repeated when the commit fails. To
rename a kind, register the new name beside the old one until no row bears the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from tidings.news import publishing
from tidings.shop import orders
from tidings.store.delayed import DelayedJob

Handler = Callable[[Connection, Sequence[DelayedJob]], Mapping[int, datetime]]


def expire_orders(conn: Connection, due: Sequence[DelayedJob]) -> Mapping[int, datetime]:
    """Cancel what is unpaid and past its time; look again at what is unpaid and not."""
    job_ids = {int(job.ref): job.id for job in due}
    early = orders.expire(conn, job_ids)
    return {job_ids[order_id]: expires_at for order_id, expires_at in early.items()}


def publish_articles(conn: Connection, due: Sequence[DelayedJob]) -> Mapping[int, datetime]:
    """Publish the articles whose hour has come."""
    publishing.publish(conn, [int(job.ref) for job in due])
    return {}


HANDLERS: Mapping[str, Handler] = {
    orders.ORDER_TIMEOUT: expire_orders,
    publishing.PUBLISH_ARTICLE: publish_articles,
}
