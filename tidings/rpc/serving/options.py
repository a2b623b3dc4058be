"""How much a server takes on, and how long it waits: in one place, since the figures hang together.

Each default states what it has to be above or below. Rejected: arguments of the server, one by one,
which its callers would pass on through three layers.

    options = ServerOptions(max_connections=64, drain_window_s=5)
"""

from __future__ import annotations

from dataclasses import dataclass

from tidings.rpc.serving.dispatch import CallRules


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How much a server takes on, and how long it waits.

    Attributes:
        max_connections: at least the sum of the sizes of all clients' pools; a thread each.
        max_turned_away: connections over the cap that are told so at once; those beyond are just
            closed.
        max_in_flight: calls answered at once; the next one gets a retryable 503.
        idle_timeout_s: a connection without a call for so long is closed; above the clients'
            maximum age.
        io_timeout_s: a message that has begun is read, or a reply written, within this.
        min_budget_ms: work whose caller will wait less than this is refused.
        max_budget_ms: the time given to callers that name none, and the most given to any.
        drain_window_s: how long to serve on, not ready, while clients look elsewhere.
        drain_timeout_s: how long to wait then for the calls in flight.
        max_frame_bytes: the longest message, either way.
        slow_ms: calls that took longer are logged.
    """

    max_connections: int = 512
    max_turned_away: int = 16
    max_in_flight: int = 64
    idle_timeout_s: float = 60.0
    io_timeout_s: float = 5.0
    min_budget_ms: int = 1
    max_budget_ms: int = 10_000
    drain_window_s: float = 1.0
    drain_timeout_s: float = 10.0
    max_frame_bytes: int = 1024 * 1024
    slow_ms: int = 200

    def call_rules(self) -> CallRules:
        """What of it concerns one call."""
        return CallRules(
            max_in_flight=self.max_in_flight,
            io_timeout_s=self.io_timeout_s,
            min_budget_ms=self.min_budget_ms,
            max_budget_ms=self.max_budget_ms,
            slow_ms=self.slow_ms,
        )
