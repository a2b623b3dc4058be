"""Every setting of every process: one typed object, read once at start, passed on as an argument.

Environment variables `TIDINGS_*` win over a `.env` file, which wins over the defaults. A bad value
stops the process at boot with the key's name; so does a key nobody reads, since a misspelt setting
that is silently ignored is found only when it was needed. Rejected: a configuration file of our
own; every platform that runs processes already knows how to set their environment.
"""

from __future__ import annotations

import difflib
import os
import secrets
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from tidings.process.errors import PREFIX as PREFIX  # noqa: PLC0414 - moving
from tidings.process.errors import CannotStartError as CannotStartError  # noqa: PLC0414 - moving
from tidings.process.errors import SettingsError as SettingsError  # noqa: PLC0414 - moving
from tidings.process.listening import split_bind

DATABASES = ("sqlite", "mysql+pymysql", "mariadb+pymysql")


def _check_bind(value: str) -> str:
    if value.startswith("unix:"):
        if not value.removeprefix("unix:").startswith("/"):
            raise ValueError(f"expected unix:/absolute/path, got {value!r}")
        return value
    split_bind(value)
    return value


def _check_database_url(value: str) -> str:
    try:
        url = make_url(value)
    except ArgumentError:
        raise ValueError(
            "expected a database URL such as sqlite:///var/tidings.db or mysql+pymysql://user:password@host/tidings"
        ) from None
    if url.drivername not in DATABASES:
        raise ValueError(
            f"expected one of {', '.join(DATABASES)} before ://, got {url.drivername!r}"
        )
    if not url.database:
        raise ValueError("the URL names no database; it belongs after the last slash")
    return value


def _check_redis_url(value: str) -> str:
    if urlsplit(value).scheme not in ("redis", "rediss", "unix"):
        raise ValueError("expected redis://host:port/0, rediss://… or unix:///path/to/socket")
    return value


def _split_commas(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _check_secrets(keys: tuple[str, ...]) -> tuple[str, ...]:
    if any(len(key) < 32 for key in keys):
        raise ValueError("each key needs 32 characters or more; `openssl rand -hex 32` makes one")
    return keys


def _check_endpoints(endpoints: tuple[str, ...]) -> tuple[str, ...]:
    if not endpoints:
        raise ValueError("expected at least one HOST:PORT or unix:/path")
    for endpoint in endpoints:
        _check_bind(endpoint)
    return endpoints


Bind = Annotated[str, AfterValidator(_check_bind)]
CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]


class Settings(BaseSettings):
    """Read-only after boot. `tidings settings` prints each with its default, unit and source."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True
    )

    var_dir: Path = Field(Path("var"), description="folder for everything written at run time")
    secret_keys: Annotated[CommaSeparated, AfterValidator(_check_secrets)] = Field(
        (),
        description="comma-separated; the first signs, all verify; default: kept in "
        "VAR_DIR/secret_keys",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level to log"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: console on a terminal, JSON lines elsewhere"
    )

    database_url: Annotated[str, AfterValidator(_check_database_url)] = Field(
        "sqlite:///var/tidings.db", description="SQLite, or MySQL/MariaDB by mysql+pymysql://"
    )
    database_pool_size: int = Field(8, ge=1, le=200, description="connections a process keeps")
    database_pool_timeout_s: float = Field(
        2, gt=0, description="longest wait for a free connection"
    )
    database_connect_timeout_s: int = Field(
        3, ge=1, description="longest wait for the server to answer"
    )
    database_read_timeout_s: int = Field(
        20, ge=1, description="longest wait for one statement's answer"
    )

    redis_url: Annotated[str, AfterValidator(_check_redis_url)] = Field(
        "redis://127.0.0.1:6390/0",
        description="unless set, `tidings up` starts its own Redis there",
    )
    redis_pool_size: int = Field(32, ge=1, le=1000, description="connections a process keeps")
    redis_timeout_s: float = Field(0.5, gt=0, description="longest wait for one Redis answer")

    gateway_bind: Bind = Field("127.0.0.1:8000", description="HTTP for readers")
    gateway_metrics_bind: Bind = Field("127.0.0.1:8100", description="/metrics of the gateway")
    gateway_workers: int = Field(1, ge=1, le=64, description="worker processes")
    gateway_threads: int = Field(16, ge=1, le=256, description="threads in each worker")
    gateway_deadline_ms: int = Field(2000, ge=50, description="whole budget of one HTTP request")
    gateway_recommend_ms: int = Field(
        500, ge=10, description="share of it that the recommender may use"
    )
    gateway_max_body_bytes: int = Field(256 * 1024, ge=1024, description="largest request body")
    card_ttl_s: int = Field(
        300, ge=1, description="cached article cards live this long, give or take 10 %"
    )

    recommender_bind: Bind = Field("127.0.0.1:9090", description="Thrift")
    recommender_metrics_bind: Bind = Field(
        "127.0.0.1:9190", description="/metrics of the recommender"
    )
    recommender_endpoints: Annotated[CommaSeparated, AfterValidator(_check_endpoints)] = Field(
        ("127.0.0.1:9090",), description="comma-separated; where the gateway finds recommenders"
    )
    recommender_workers: int = Field(
        1, ge=1, le=64, description="worker processes, each on a core of its own"
    )
    recommender_max_connections: int = Field(
        512, ge=1, le=20_000, description="open connections of each worker"
    )
    recommender_max_in_flight: int = Field(
        64, ge=1, le=1000, description="calls each worker answers at once"
    )
    recommender_idle_timeout_s: float = Field(
        60, ge=1, description="a connection without a call this long is closed"
    )
    recommender_drain_window_s: float = Field(
        1, ge=0, description="on SIGTERM, serve on this long while clients look elsewhere"
    )
    recommender_tls_cert: Path | None = Field(
        None, description="PEM; this process's certificate towards its peer"
    )
    recommender_tls_key: Path | None = Field(
        None, description="PEM; the private key of that certificate"
    )
    recommender_tls_ca: Path | None = Field(
        None, description="PEM; who must have signed the peer's certificate"
    )
    recommender_tls_name: str = Field(
        "", description="what the recommender's certificate must be for; empty: anything"
    )
    recommender_allow_plaintext: bool = Field(
        False, description="speak Thrift without TLS over the network"
    )
    rpc_lean: bool = Field(
        True, description="read and write messages the lean way; else by Thrift's own code"
    )
    history_batches: int = Field(
        500, ge=1, le=10_000, description="feed pages kept per reader and channel"
    )
    seen_articles: int = Field(
        5000, ge=1, le=100_000, description="latest exposures not shown again"
    )
    reader_ttl_days: int = Field(
        30, ge=1, description="a reader's state is dropped after this idle time"
    )

    behaviour_backlog: int = Field(
        1_000_000, ge=1000, description="behaviours waiting for SQL before new ones get 503"
    )
    jobs_metrics_bind: Bind = Field(
        "127.0.0.1:8300", description="/metrics and health of the jobs daemon"
    )
    jobs_keep_days: int = Field(
        90, ge=1, description="history of jobs and behaviours older than this is pruned"
    )
    feed_urls: CommaSeparated = Field(
        (), description="comma-separated RSS/Atom feeds or OPML lists, imported hourly"
    )
    site_url: str = Field(
        "http://127.0.0.1:8000", description="where readers find the static pages; no last slash"
    )
    training_command: str = Field(
        "", description="program and arguments run nightly, such as `tidings train`"
    )

    order_timeout_s: float = Field(
        1800, gt=0, description="an unpaid order is cancelled after this time"
    )
    payment_provider: Literal["none", "sandbox"] = Field(
        "none", description="who takes the money; the sandbox calls SITE_URL back and takes none"
    )
    payment_secrets: Annotated[CommaSeparated, AfterValidator(_check_secrets)] = Field(
        (),
        description="comma-separated; sign the payment provider's calls; default: derived from "
        "SECRET_KEYS",
    )

    @model_validator(mode="after")
    def _check_shares(self) -> Settings:
        if self.gateway_recommend_ms >= self.gateway_deadline_ms:
            raise ValueError("gateway_recommend_ms: must be below gateway_deadline_ms")
        return self

    @property
    def redis_is_embedded(self) -> bool:
        """True when nobody named a Redis, so `tidings up` brings its own."""
        return "redis_url" not in self.model_fields_set


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: naming each key that is wrong, and what would be right.
    """
    _refuse_unknown_keys()
    try:
        return Settings(**overrides)
    except ValidationError as ex:
        lines = []
        for error in ex.errors():
            key = PREFIX + str(error["loc"][0]).upper() if error["loc"] else PREFIX.rstrip("_")
            message = error["msg"].removeprefix("Value error, ")
            may_be_shown = (
                error["loc"] and not key.endswith(("_KEYS", "_URL")) and "got" not in message
            )
            got = f", got {error['input']!r}" if may_be_shown else ""
            lines.append(f"{key}: {message}{got}")
        raise SettingsError("; ".join(lines)) from None


def read_secret_keys(settings: Settings) -> tuple[bytes, ...]:
    """The signing keys: from the setting, or else from `VAR_DIR/secret_keys`.

    Raises:
        SettingsError: when there are none. `make_secret_keys` writes that file for `tidings up`.
    """
    keys = settings.secret_keys
    path = settings.var_dir / "secret_keys"
    if not keys and path.is_file():
        keys = tuple(path.read_text().split())
    if not keys:
        raise SettingsError(
            f"{PREFIX}SECRET_KEYS: not set, and {path} does not exist; `openssl rand -hex 32` "
            "makes a key"
        )
    return tuple(key.encode() for key in keys)


def make_secret_keys(settings: Settings) -> None:
    """Write a random key to `VAR_DIR/secret_keys`, readable by the owner only, unless keys are
    there."""
    path = settings.var_dir / "secret_keys"
    if settings.secret_keys or path.exists():
        return
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32) + "\n")


def _refuse_unknown_keys() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for key in sorted(os.environ):
        if key.startswith(PREFIX) and key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else "; `tidings settings` lists them all"
            raise SettingsError(f"{key}: there is no such setting{hint}")
