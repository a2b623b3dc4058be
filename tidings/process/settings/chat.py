"""Settings of the chat.

A function takes the group that it needs, and no other.

    settings.chat.bind  # TIDINGS_CHAT_BIND
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from tidings.process.settings.group import (
    Bind,
    Group,
    OriginList,
    Quota,
    check_origin,
    group_config,
)

# The file descriptors that a common limit (RLIMIT_NOFILE, hard) leaves to one process.
_MOST_CONNECTIONS = 500_000
# Timers are scaled down by tests, and no client can be asked for an answer in less.
_LEAST_TIMER_S = 0.1


def _check_url(value: str) -> str:
    return check_origin(value) if value else value


class ChatSettings(Group):
    """Where a chat node listens, where its readers find it, and how much it takes on."""

    model_config = group_config("CHAT_")

    bind: Bind = Field("127.0.0.1:8001", description="WebSockets and HTTP of the chat")
    metrics_bind: Bind = Field("127.0.0.1:8103", description="/metrics of the chat")
    url: Annotated[str, AfterValidator(_check_url)] = Field(
        "",
        description="the origin where pages find the chat, on the site's host; default: "
        "the host they came to, at the port of BIND, or over HTTPS that of the page itself",
    )
    allowed_origins: OriginList = Field(
        (),
        description="comma-separated; pages of these origins may talk, beside the site's own and "
        "those of GATEWAY_ALLOWED_ORIGINS",
    )
    limit_read: Quota = Field(
        240,
        description="lists and histories of one reader in GATEWAY_LIMIT_WINDOW_S; of an address "
        "and a key as many times as at the gateway; 0 is no limit",
    )
    limit_write: Quota = Field(
        600,
        description="the same of messages and other changes over HTTP, as many as a socket takes "
        "in a minute",
    )
    max_connections: int = Field(
        16_000, ge=1, le=_MOST_CONNECTIONS, description="open sockets of one node"
    )
    connections_per_address: int = Field(
        256,
        ge=0,
        le=_MOST_CONNECTIONS,
        description="sockets one address may hold on a node, an IPv6 /64 being one; 0: any; a "
        "believed proxy may hold any",
    )
    half_open: int = Field(
        1000,
        ge=1,
        le=_MOST_CONNECTIONS,
        description="connections of a node that have not said who they are; of more, the oldest "
        "gives way",
    )
    hello_s: float = Field(
        5,
        ge=_LEAST_TIMER_S,
        le=60,
        description="time to ask for a socket, and as much again to say hello",
    )
    ping_every_s: float = Field(
        25,
        ge=_LEAST_TIMER_S,
        le=3600,
        description="a socket is pinged so often, and looked at whether its key is good and whom "
        "it may follow",
    )
    dead_after_s: float = Field(
        60, ge=_LEAST_TIMER_S, le=7200, description="a socket that is silent this long is closed"
    )
    shed_per_s: int = Field(
        500, ge=1, le=_MOST_CONNECTIONS, description="on SIGTERM, sockets closed each second"
    )

    @model_validator(mode="after")
    def _check_timers(self) -> Self:
        if self.dead_after_s <= self.ping_every_s:
            raise ValueError("chat_dead_after_s: must be above chat_ping_every_s")
        return self
