"""`python -m gateway`: serves until SIGTERM or Ctrl-C."""

from __future__ import annotations

import sys

from tidings.process.boot import start
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
    sys.exit(start("gateway", run))
