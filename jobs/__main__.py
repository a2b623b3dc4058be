"""The jobs daemon: it does what is scheduled and what was promised for later, until SIGTERM or
SIGINT. Several may run at once.

    python -m jobs
"""

from __future__ import annotations

import logging
import os
import signal
from functools import partial

from jobs.daemon import BATCH_THREADS, make_daemon
from jobs.engines import make_engines
from jobs.handlers import make_handlers
from jobs.static.context import make_owner_name
from jobs.table import LOOPS, STATIC_JOBS
from tidings.news.articles import Articles
from tidings.process.boot import start, take_no_arguments
from tidings.process.clock import now_ms
from tidings.process.errors import naming
from tidings.process.metrics import serve_metrics
from tidings.process.settings import Settings
from tidings.shop import refunds
from tidings.shop.providers import Provider, check_name, make_provider, make_site
from tidings.store.opening import open_database
from tidings.store.redis import make_redis


def run(settings: Settings) -> int:
    """Run the daemon; returns its exit code.

    Raises:
        CannotStartError: naming what is in the way.
    """
    check_name(settings.shop.payment_provider)
    open_database(settings).dispose()
    # Every batch would be two lines of APScheduler's; what matters of them is counted.
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    engines = make_engines(settings, batch_connections=BATCH_THREADS)
    redis = make_redis(settings.redis)
    articles = Articles(engines.work, redis, card_ttl_s=settings.gateway.card_ttl_s, clock=now_ms)

    def provider_of(name: str) -> Provider:
        # Only when there is something to send: a site without secret keys of its own still runs.
        return make_provider(name, make_site(settings))

    send_refund = partial(refunds.carry_out, engines.work, provider_of)
    daemon = make_daemon(
        settings,
        engines,
        redis,
        owner=make_owner_name(),
        jobs=STATIC_JOBS,
        loops=LOOPS,
        handlers=make_handlers(articles, send_refund),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    with naming("JOBS_METRICS_BIND"):
        serve_metrics(settings.jobs.metrics_bind, lambda: daemon.is_ready, lambda: daemon.is_live)
    return daemon.run()


if __name__ == "__main__":
    take_no_arguments("jobs", __doc__)
    code = start("jobs", run)
    logging.shutdown()
    # A batch that could not be finished in time holds a thread that a plain exit would wait for.
    os._exit(code)
