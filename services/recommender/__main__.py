"""`python -m services.recommender`: serves until SIGTERM or SIGINT, then drains."""

from __future__ import annotations

import signal
import sys
import threading
import time

from services.recommender.app import make_server
from tidings.boot import cannot_bind, open_database, start
from tidings.metrics import serve_metrics
from tidings.settings import Settings, read_secret_keys
from tidings.store.redis import make_redis
from tidings.tracking import Tracker


def run(settings: Settings) -> int:
    """Serve until told to stop; returns the exit code.

    Raises:
        CannotStartError: something prevents a start.
    """
    tracker = Tracker(read_secret_keys(settings))
    engine = open_database(settings)
    server, catalogue = make_server(settings, engine, make_redis(settings), tracker, lambda: time.time_ns() // 10**6)
    stopping = threading.Event()
    threading.Thread(target=catalogue.keep_fresh, args=(stopping,), name="catalogue", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.drain())
    try:
        stop_metrics = serve_metrics(settings.recommender_metrics_bind, server.is_ready)
    except OSError as ex:
        raise cannot_bind("RECOMMENDER_METRICS_BIND", settings.recommender_metrics_bind, ex) from None
    server.serve()
    stopping.set()
    stop_metrics()
    engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(start("recommender", run))
