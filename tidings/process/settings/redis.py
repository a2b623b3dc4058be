"""Settings of Redis, which every process but a client opens.

A function takes the group that it needs, and no other.

    make_redis(settings.redis)  # TIDINGS_REDIS_URL
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, Field

from tidings.process.settings.group import Group, group_config
from tidings.process.site_folder import redis_socket


def _check_url(value: str) -> str:
    if urlsplit(value).scheme not in ("redis", "rediss", "unix"):
        raise ValueError("expected redis://host:port/0, rediss://… or unix:///path/to/socket")
    return value


class RedisSettings(Group):
    """Where Redis is, and how long to wait for it."""

    model_config = group_config("REDIS_")

    url: Annotated[str, AfterValidator(_check_url)] = Field(
        "unix://VAR_DIR/redis/redis.sock",
        description="unless set, `tidings up` starts its own Redis there",
    )
    pool_size: int = Field(32, ge=1, le=1000, description="connections a process keeps")
    timeout_s: float = Field(0.5, gt=0, description="longest wait for one Redis answer")

    def completed(self, var_dir: str) -> Self:
        """With the socket of the site's own Redis, unless a URL names another."""
        if "url" in self.model_fields_set:
            return self
        return self.model_copy(update={"url": f"unix://{quote(str(redis_socket(Path(var_dir))))}"})
