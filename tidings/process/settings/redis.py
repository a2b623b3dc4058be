"""Settings of Redis, which every process but a client opens.

redis = make_redis(settings.redis)
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from tidings.process.settings.group import Group, group_config


def _check_url(value: str) -> str:
    if urlsplit(value).scheme not in ("redis", "rediss", "unix"):
        raise ValueError("expected redis://host:port/0, rediss://… or unix:///path/to/socket")
    return value


class RedisSettings(Group):
    """Where Redis is, and how long to wait for it."""

    model_config = group_config("REDIS_")

    url: Annotated[str, AfterValidator(_check_url)] = Field(
        "redis://127.0.0.1:6390/0",
        description="unless set, `tidings up` starts its own Redis there",
    )
    pool_size: int = Field(32, ge=1, le=1000, description="connections a process keeps")
    timeout_s: float = Field(0.5, gt=0, description="longest wait for one Redis answer")
