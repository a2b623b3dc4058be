"""`python -m jobs`: reads the settings, makes a daemon and runs it until SIGTERM or SIGINT."""

from __future__ import annotations

import logging
import os
import signal
import sys

from jobs.context import make_owner_name
from jobs.daemon import BATCH_THREADS, make_daemon
from jobs.engines import make_engines
from jobs.handlers import HANDLERS
from jobs.table import LOOPS, STATIC_JOBS
from tidings.metrics import serve_metrics
from tidings.settings import SettingsError, load_settings
from tidings.store.migrate import SchemaError, check_schema
from tidings.store.redis import make_redis
from tidings.telemetry import configure_logging


def main() -> int:
    """Run the daemon of the settings in the environment; returns its exit code."""
    try:
        settings = load_settings()
        engines = make_engines(settings, batch_connections=BATCH_THREADS)
        check_schema(engines.work)
    except (SettingsError, SchemaError) as ex:
        print(f"jobs: {ex}", file=sys.stderr)
        return 2
    configure_logging(settings, "jobs")
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    daemon = make_daemon(
        settings,
        engines,
        make_redis(settings),
        owner=make_owner_name(),
        jobs=STATIC_JOBS,
        loops=LOOPS,
        handlers=HANDLERS,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    try:
        serve_metrics(settings.jobs_metrics_bind, lambda: daemon.is_ready, lambda: daemon.is_live)
    except OSError as ex:
        print(f"jobs: TIDINGS_JOBS_METRICS_BIND: {settings.jobs_metrics_bind}: {ex.strerror}", file=sys.stderr)
        return 2
    return daemon.run()


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # A batch that could not be finished in time holds a thread that a plain exit would wait for.
    os._exit(code)
