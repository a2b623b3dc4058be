"""What delayed jobs do, by the name that stands in the row.

A handler gets a batch of due rows of its kind inside one transaction and returns the rows that are
not to be done yet, with their new moments; all others are deleted with the commit. What it does
must therefore stand in the database: an outside effect would be repeated when the commit fails. One
that may be lost, such as a cache that forgets, waits for the commit by `after_commit`; one that
must not be lost is an errand, which is run outside of a transaction. What is over by now is judged
by the moment that comes with the rows: the clock guard has accepted it, and a second reading of the
database's clock might be an hour off. To rename a kind, register the new name beside the old one
until no row bears the old one.

    make_handlers(articles, send_refund)["publish_article"](conn, due, now)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from jobs.errands import Errand
from tidings.editing.acting import Act, job_actor
from tidings.editing.articles import publish_due
from tidings.news import publishing, removal
from tidings.news.articles import Articles
from tidings.shop import orders, refunds
from tidings.store.delayed import DelayedJob

KINDS = (
    orders.ORDER_TIMEOUT,
    publishing.PUBLISH_ARTICLE,
    removal.DELETE_ARTICLE,
    refunds.REFUND,
)

Handler = Callable[[Connection, Sequence[DelayedJob], datetime], Mapping[int, datetime]]


def expire_orders(
    conn: Connection, due: Sequence[DelayedJob], now: datetime
) -> Mapping[int, datetime]:
    """Cancel what is unpaid and past its time; warn the readers of what is unpaid and not, and look
    again."""
    job_ids = {int(job.ref): job.id for job in due}
    early = orders.expire(conn, job_ids, now)
    return {job_ids[order_id]: expires_at for order_id, expires_at in early.items()}


def make_handlers(
    articles: Articles, send_refund: Callable[[int], object]
) -> dict[str, Handler | Errand]:
    """Kind → handler, or errand.

    Args:
        articles: told of each article that is published, once it is.
        send_refund: gives a payment back; the same one again gives nothing more.
    """

    def publish_articles(
        conn: Connection, due: Sequence[DelayedJob], _now: datetime
    ) -> Mapping[int, datetime]:
        act = Act(conn, job_actor(publishing.PUBLISH_ARTICLE), articles)
        publish_due(act, [int(job.ref) for job in due])
        return {}

    def delete_articles(
        conn: Connection, due: Sequence[DelayedJob], _now: datetime
    ) -> Mapping[int, datetime]:
        removal.delete_articles(conn, [int(job.ref) for job in due], articles)
        return {}

    def give_up_refund(conn: Connection, ref: str, error: str) -> None:
        refunds.give_up(conn, int(ref), error)

    return {
        orders.ORDER_TIMEOUT: expire_orders,
        publishing.PUBLISH_ARTICLE: publish_articles,
        removal.DELETE_ARTICLE: delete_articles,
        refunds.REFUND: Errand(lambda ref: send_refund(int(ref)), give_up_refund),
    }
