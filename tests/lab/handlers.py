"""What delayed jobs do in tests that keep no cache: there is none to be told of an article."""

from __future__ import annotations

from redis import Redis
from sqlalchemy import create_engine

from jobs.handlers import make_handlers
from tests.lab.newsroom import Clock
from tests.lab.servers import NO_RETRY
from tidings.news.articles import Articles
from tidings.shop.providers import ProviderUnavailableError

UNCACHED = Articles(
    create_engine("sqlite://"),
    Redis(host="127.0.0.1", port=1, retry=NO_RETRY),
    card_ttl_s=60,
    clock=Clock(),
)


def keep_refund(payment_id: int) -> None:
    """No provider is there."""
    raise ProviderUnavailableError(f"payment {payment_id} is kept")


HANDLERS = make_handlers(UNCACHED, keep_refund)
