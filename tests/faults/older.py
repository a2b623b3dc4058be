"""A daemon of an older version: it knows the kinds of its day and must leave the others alone."""

from __future__ import annotations

import os
import signal

from jobs.daemon import BATCH_THREADS, make_daemon
from jobs.engines import make_engines
from jobs.static.context import make_owner_name
from jobs.table import STATIC_JOBS
from tests.lab.handlers import HANDLERS
from tidings.process.metrics import serve_metrics
from tidings.process.settings import load_settings
from tidings.store.redis import make_redis

if __name__ == "__main__":
    settings = load_settings()
    engines = make_engines(settings, batch_connections=BATCH_THREADS)
    old_name = {"expire_order": HANDLERS["order_timeout"]}
    daemon = make_daemon(
        settings,
        engines,
        make_redis(settings.redis),
        owner=make_owner_name(),
        jobs=STATIC_JOBS,
        loops=(),
        handlers=old_name,
    )
    signal.signal(signal.SIGTERM, lambda *_: daemon.stop())
    serve_metrics(settings.jobs.metrics_bind, lambda: daemon.is_ready, lambda: daemon.is_live)
    os._exit(daemon.run())
