"""What delayed jobs do in tests that keep no cache: there is none to be told of an article."""

from __future__ import annotations

from redis import Redis
from sqlalchemy import create_engine

from jobs.handlers import make_handlers
from tests.lab.newsroom import Clock
from tests.lab.servers import NO_RETRY
from tidings.news.articles import Articles

UNCACHED = Articles(
    create_engine("sqlite://"),
    Redis(host="127.0.0.1", port=1, retry=NO_RETRY),
    card_ttl_s=60,
    clock=Clock(),
)
HANDLERS = make_handlers(UNCACHED)
