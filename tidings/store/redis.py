"""Opens Redis with every wait bounded.

redis-py's defaults wait 5 s and try ten times, far longer than a reader does. Here one answer may take
`redis_timeout_s`, nothing is sent twice, and a caller waits no longer than that for a free connection.
Everything kept in Redis stands under `t1:`; a change of a value's shape takes the next number.
"""

from __future__ import annotations

from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tidings.settings import Settings

PREFIX = "t1:"


def make_redis(settings: Settings) -> Redis:
    """A client whose answers are bytes. It connects on first use, so build it after a fork, never before."""
    pool = BlockingConnectionPool.from_url(
        settings.redis_url,
        max_connections=settings.redis_pool_size,
        timeout=settings.redis_timeout_s,
        socket_timeout=settings.redis_timeout_s,
        socket_connect_timeout=settings.redis_timeout_s,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=30,
    )
    return Redis.from_pool(pool)
