"""Opens Redis with every wait bounded.

redis-py's defaults wait 5 s and try ten times, far longer than a reader does. Here one answer may
take `redis_timeout_s`, or what is left of the request's deadline; nothing is sent twice, and a
caller waits no longer than that for a free connection. What is kept in Redis stands in `keys`.

    redis = make_redis(settings)
    redis.get(SEEN.of(7))
"""

from __future__ import annotations

from typing import Any

from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.utils import SENTINEL

from tidings.process.deadline import current_deadline
from tidings.process.settings import RedisSettings


def make_redis(settings: RedisSettings) -> Redis:
    """A client whose answers are bytes. It connects on first use, so build it after a fork, never
    before."""
    pool = BlockingConnectionPool.from_url(
        settings.url,
        max_connections=settings.pool_size,
        timeout=settings.timeout_s,
        socket_timeout=settings.timeout_s,
        socket_connect_timeout=settings.timeout_s,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=30,
    )
    pool.connection_class = type("DeadlineConnection", (_WaitsNoLonger, pool.connection_class), {})
    return Redis.from_pool(pool)


class _WaitsNoLonger:
    """Mixed into the pool's kind of connection: an answer is awaited until the current deadline at
    most."""

    socket_timeout: float

    def read_response(self, *args: Any, timeout: Any = SENTINEL, **options: Any) -> Any:
        deadline = current_deadline()
        if deadline is not None and timeout is SENTINEL:
            timeout = min(max(deadline.remaining_ms() / 1000, 0.001), self.socket_timeout)
        return super().read_response(*args, timeout=timeout, **options)  # type: ignore[misc]
