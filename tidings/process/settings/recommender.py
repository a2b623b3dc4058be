"""Settings of the recommender and of those who call it.

A function takes the group that it needs, and no other.

    settings.recommender.workers  # TIDINGS_RECOMMENDER_WORKERS
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, Field

from tidings.process.listening import UNIX, split_bind
from tidings.process.settings.group import (
    Bind,
    CommaSeparated,
    Group,
    check_bind,
    group_config,
)


def _check_endpoints(endpoints: tuple[str, ...]) -> tuple[str, ...]:
    if not endpoints:
        raise ValueError("expected at least one HOST:PORT or unix:/path")
    for endpoint in endpoints:
        check_bind(endpoint)
    return endpoints


class Share(NamedTuple):
    """A share of the readers, served by a ranker of its own, to compare it with others.

    Attributes:
        number: what tokens, records and figures call it; 0 is for readers outside of all shares.
        ranker: `blend`, `in-use`, or the name of a model.
    """

    number: int
    ranker: str
    percent: float


def split_share(text: str) -> Share:
    """`NUMBER:RANKER:PERCENT`, such as `1:blend:10`.

    Raises:
        ValueError: it is not that.
    """
    try:
        number, ranker, percent = text.split(":")
        share = Share(int(number), ranker.strip(), float(percent))
    except ValueError as ex:
        raise ValueError("expected NUMBER:RANKER:PERCENT, such as 1:blend:10") from ex
    if not 1 <= share.number <= 255 or not share.ranker:
        raise ValueError("a variant's number is from 1 to 255, and its ranker has a name")
    if not 0 < share.percent <= 100:
        raise ValueError("a variant's share is above 0 and at most 100 percent")
    return share


def _check_variants(variants: tuple[str, ...]) -> tuple[str, ...]:
    shares = [split_share(text) for text in variants]
    if len({share.number for share in shares}) != len(shares):
        raise ValueError("two variants have the same number")
    if sum(share.percent for share in shares) > 100:
        raise ValueError("the shares of the variants are more than 100 percent")
    return variants


def _endpoint_of(bind: str) -> str:
    """Where a client on this machine finds what listens there."""
    if bind.startswith(UNIX):
        return bind
    host, port = split_bind(bind)
    every = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - connected to, not bound
    host = every.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class RecommenderSettings(Group):
    """Where the recommender listens, how much it takes on, and how both sides are sure of the
    other."""

    model_config = group_config("RECOMMENDER_")

    bind: Bind = Field("127.0.0.1:9090", description="Thrift")
    metrics_bind: Bind = Field("127.0.0.1:9190", description="/metrics of the recommender")
    endpoints: Annotated[CommaSeparated, AfterValidator(_check_endpoints)] = Field(
        ("127.0.0.1:9090",),
        description="comma-separated; where the gateway finds recommenders; default: at BIND",
    )
    workers: int = Field(1, ge=1, le=64, description="worker processes, each on a core of its own")
    max_connections: int = Field(
        512, ge=1, le=20_000, description="open connections of each worker"
    )
    max_in_flight: int = Field(64, ge=1, le=1000, description="calls each worker answers at once")
    idle_timeout_s: float = Field(
        60, ge=1, description="a connection without a call this long is closed"
    )
    drain_window_s: float = Field(
        1, ge=0, description="on SIGTERM, serve on this long while clients look elsewhere"
    )
    variants: Annotated[CommaSeparated, AfterValidator(_check_variants)] = Field(
        (),
        description="comma-separated NUMBER:RANKER:PERCENT, such as 1:blend:10; shares of readers "
        "who are served by another ranker, to compare it",
    )
    tls_cert: Path | None = Field(
        None, description="PEM; this process's certificate towards its peer"
    )
    tls_key: Path | None = Field(None, description="PEM; the private key of that certificate")
    tls_ca: Path | None = Field(
        None, description="PEM; who must have signed the peer's certificate"
    )
    tls_name: str = Field(
        "", description="what the recommender's certificate must be for; empty: anything"
    )
    allow_plaintext: bool = Field(False, description="speak Thrift without TLS over the network")

    def completed(self, var_dir: str) -> Self:
        """With this site's own recommender as the endpoint, unless others are named: a second site
        on one machine moves its binds, and must not ask the recommender of the first."""
        del var_dir
        if "endpoints" in self.model_fields_set or "bind" not in self.model_fields_set:
            return self
        return self.model_copy(update={"endpoints": (_endpoint_of(self.bind),)})
