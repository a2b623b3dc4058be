"""The HTTP gateway: it answers readers, with articles that a recommender chose and with paid
editions, until SIGTERM or Ctrl-C.

    python -m gateway
"""

from __future__ import annotations

import sys

from tidings.process.boot import start, take_no_arguments
from tidings.process.settings import Settings
from tidings.process.shared_metrics import share_metrics


def run(settings: Settings) -> int:
    """Serve until told to stop; gunicorn ends the process by itself.

    Raises:
        CannotStartError: something prevents a start.
    """
    share_metrics(settings.site.var_dir, "gateway", settings.gateway.bind)
    # Only now: prometheus_client decides how it counts when it is imported.
    from gateway.serving.server import serve

    serve(settings)
    return 0


if __name__ == "__main__":
    take_no_arguments("gateway", __doc__)
    sys.exit(start("gateway", run))
