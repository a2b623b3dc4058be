"""Settings of the gateway.

A function takes the group that it needs, and no other.

    settings.gateway.bind  # TIDINGS_GATEWAY_BIND
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from tidings.process.settings.group import (
    Bind,
    CommaSeparated,
    Group,
    OriginList,
    Quota,
    group_config,
    named,
)


def _check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    for network in networks:
        ipaddress.ip_network(network, strict=False)
    return networks


# Each thread holds a body whole: at 16 threads, 1 GiB.
_MOST_BODY_BYTES = 64 * 1024 * 1024
# Ten minutes are more than browsers and proxies wait for an answer.
_MOST_DEADLINE_MS = 600_000
# A month, as long as a reader's state is kept.
_MOST_CARD_TTL_S = 30 * 86_400


class GatewaySettings(Group):
    """Where the gateway listens, and what one request may cost."""

    model_config = group_config("GATEWAY_")

    bind: Bind = Field("127.0.0.1:8000", description="HTTP for readers")
    metrics_bind: Bind = Field("127.0.0.1:8100", description="/metrics of the gateway")
    workers: int = Field(1, ge=1, le=64, description="worker processes")
    threads: int = Field(16, ge=1, le=256, description="threads in each worker")
    deadline_ms: int = Field(
        2000, ge=50, le=_MOST_DEADLINE_MS, description="whole budget of one HTTP request"
    )
    recommend_ms: int = Field(500, ge=10, description="share of it that the recommender may use")
    max_body_bytes: int = Field(
        256 * 1024, ge=1024, le=_MOST_BODY_BYTES, description="largest request body"
    )
    connections_per_address: Quota = Field(
        256,
        description="connections one address may hold in each worker; 0: any; a believed proxy may "
        "hold any",
    )
    trusted_proxies: Annotated[CommaSeparated, AfterValidator(_check_networks)] = Field(
        (),
        validation_alias=named("TRUSTED_PROXIES"),
        description="comma-separated addresses or networks; believed about X-Forwarded-For and "
        "-Proto, beside this machine's own programs",
    )
    allowed_origins: OriginList = Field(
        (),
        description="comma-separated; pages of these other origins may read answers, and write "
        "with the reader's cookie",
    )
    limit_window_s: int = Field(
        60, ge=1, le=3600, description="requests are limited within every stretch of this time"
    )
    limit_feed: Quota = Field(
        120, description="feeds and lists of one reader in LIMIT_WINDOW_S; 0 is no limit"
    )
    limit_report: Quota = Field(
        120,
        description="reports, which name no reader, in LIMIT_WINDOW_S: LIMIT_ADDRESS_TIMES as many "
        "of one address, LIMIT_KEY_TIMES as many of one key; 0 is no limit",
    )
    limit_write: Quota = Field(
        60,
        description="marks and chat tickets of one reader in LIMIT_WINDOW_S; 0 is no limit",
    )
    limit_order: Quota = Field(
        20, description="orders and payments of one reader in LIMIT_WINDOW_S; 0 is no limit"
    )
    limit_sign_in: Quota = Field(
        30,
        description="keys that open no door of one address in LIMIT_WINDOW_S; 0 is no limit",
    )
    limit_address_times: Quota = Field(
        10,
        description="one address, an IPv6 /64 being one, may do so many times what one reader may; "
        "0 is no limit by address",
    )
    limit_key_times: Quota = Field(
        10,
        description="one key may do so many times what one reader may; 0 is no limit by key",
    )
    limit_new_readers: Quota = Field(
        30,
        description="ids that one address is given in LIMIT_WINDOW_S; beyond it feeds are served "
        "without; 0 is no limit",
    )
    card_ttl_s: int = Field(
        300,
        ge=1,
        le=_MOST_CARD_TTL_S,
        validation_alias=named("CARD_TTL_S"),
        description="cached article cards live this long, give or take 10 %",
    )

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        if self.recommend_ms >= self.deadline_ms:
            raise ValueError("gateway_recommend_ms: must be below gateway_deadline_ms")
        return self
