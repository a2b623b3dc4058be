"""The chat: it holds the sockets of readers who are to be told things, until SIGTERM or Ctrl-C.

Everything in this process runs in coroutines: gevent takes the place of what waits in the standard
library, before anything else is imported, since a name that was bound earlier would wait for real
and stop all sockets with it.

    python -m services.chat
"""

from __future__ import annotations

import sys

import gevent
from gevent import monkey

# It would keep the frames in which each coroutine was made, for its whole life.
gevent.config.track_greenlet_tree = False
monkey.patch_all()

import queue  # noqa: E402

from tidings.process.boot import start, take_no_arguments  # noqa: E402
from tidings.process.errors import CannotStartError  # noqa: E402
from tidings.process.settings import Settings  # noqa: E402


def run(settings: Settings) -> int:
    """Serve until told to stop; gunicorn ends the process by itself.

    Raises:
        CannotStartError: something prevents a start.
    """
    # Before 25.4.1 a wait with a time-out could lose a place in a queue (gevent 1875).
    if not queue.LifoQueue.__module__.startswith("gevent"):
        raise CannotStartError(f"gevent {gevent.__version__} is too old; 25.4.1 or newer is needed")
    from services.chat.server import serve

    serve(settings)
    return 0


if __name__ == "__main__":
    take_no_arguments("services.chat", __doc__)
    sys.exit(start("chat", run))
