"""Settings of the database, which every process but a client opens.

A function takes the group that it needs, and no other.

    make_engine(settings.database)  # TIDINGS_DATABASE_URL and its bounds
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from tidings.process.settings.group import Group, group_config

DATABASES = ("sqlite", "mysql+pymysql", "mariadb+pymysql")


def _check_url(value: str) -> str:
    try:
        url = make_url(value)
    except ArgumentError:
        raise ValueError(
            "expected a database URL such as sqlite:///var/tidings.db or "
            "mysql+pymysql://user:password@host/tidings"
        ) from None
    if url.drivername not in DATABASES:
        raise ValueError(
            f"expected one of {', '.join(DATABASES)} before ://, got {url.drivername!r}"
        )
    if not url.database:
        raise ValueError("the URL names no database; it belongs after the last slash")
    return value


class DatabaseSettings(Group):
    """Where the database is, and how long to wait for it."""

    model_config = group_config("DATABASE_")

    url: Annotated[str, AfterValidator(_check_url)] = Field(
        "sqlite:///var/tidings.db",
        description="SQLite, or MySQL/MariaDB by mysql+pymysql://; default: in VAR_DIR",
    )
    pool_size: int = Field(8, ge=1, le=200, description="connections a process keeps")
    pool_timeout_s: float = Field(2, gt=0, description="longest wait for a free connection")
    connect_timeout_s: int = Field(3, ge=1, description="longest wait for the server to answer")
    read_timeout_s: int = Field(20, ge=1, description="longest wait for one statement's answer")

    def completed(self, var_dir: str) -> Self:
        """With the database in the site's folder, unless a URL names another."""
        if "url" in self.model_fields_set:
            return self
        # Made of parts, since a folder's name may have a `?` or a `%` in it.
        url = URL.create("sqlite", database=f"{var_dir}/tidings.db")
        return self.model_copy(update={"url": url.render_as_string(hide_password=False)})

    def below(self, folder: Path) -> Self:
        """With a relative SQLite file taken as one in `folder`."""
        url = make_url(self.url)
        if url.get_backend_name() != "sqlite":
            return self
        below = url.set(database=str(folder / str(url.database)))
        return self.model_copy(update={"url": below.render_as_string(hide_password=False)})
