"""What the chat counts of its sockets.

Nothing is counted a push: at ten thousand sockets a message, the count would cost a tenth of the
fan-out.

    CLOSED.labels("1013").inc()
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SOCKETS = Gauge("tidings_chat_sockets", "Sockets of readers who said hello")
HALF_OPEN = Gauge(
    "tidings_chat_half_open",
    "Connections that have not said who they are",
)
SLOW = Gauge(
    "tidings_chat_slow_sockets",
    "Sockets whose client takes less than it is sent",
)
CLOSED = Counter(
    "tidings_chat_closed",
    "Sockets that ended, by close code; lost: the connection ended without one",
    ["code"],
)
REFUSED = Counter(
    "tidings_chat_refused", "Connections that were given no socket, by reason", ["reason"]
)
NOT_ADMITTED = Counter("tidings_chat_not_admitted", "Tickets that were refused", ["reason"])
FRAMES = Counter("tidings_chat_frames", "Frames of clients", ["type"])
FAILED = Counter("tidings_chat_errors", "Frames answered by an error", ["code"])
LOOP_BLOCKED = Histogram(
    "tidings_chat_loop_blocked_seconds",
    "How long all sockets waited for one piece of work, where that was over 100 ms",
    buckets=(0.1, 0.2, 0.5, 1, 2, 5),
)
