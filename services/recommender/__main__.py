"""The recommender: a Thrift service that chooses articles for readers, until SIGTERM or SIGINT; it
then drains. SIGHUP replaces the workers.

The master opens the sockets and connects to nothing; what holds a connection or a thread is made in
a worker. There is a master for one worker too: it starts a dead one again at once, and keeps its
queue meanwhile.

    python -m services.recommender
"""

from __future__ import annotations

import sys

from tidings.process.boot import start, take_no_arguments
from tidings.process.errors import naming
from tidings.process.settings import Settings, read_secret_keys
from tidings.process.shared_metrics import share_metrics
from tidings.store.opening import open_database


def run(settings: Settings) -> int:
    """Serve until told to stop; returns the exit code.

    Raises:
        CannotStartError: something prevents a start.
    """
    share_metrics(settings.site.var_dir, "recommender", settings.recommender.bind)
    # Only now: prometheus_client decides how it counts when it is imported.
    from services.recommender.app import make_master
    from tidings.process.metrics import serve_metrics

    read_secret_keys(settings.site)
    open_database(settings).dispose()
    master = make_master(settings)
    with naming("RECOMMENDER_METRICS_BIND"):
        stop_metrics = serve_metrics(settings.recommender.metrics_bind, master.is_ready)
    master.run()
    stop_metrics()
    return 0


if __name__ == "__main__":
    take_no_arguments("services.recommender", __doc__)
    sys.exit(start("recommender", run))
