"""What commands that change articles and channels share: the database and the caches, the user of
the shell as the one who acts, and each refusal in one line.

    record = change(lambda act: publish(act, 42))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click
from sqlalchemy import Connection, Engine

from tidings.editing.acting import Act, perform, shell_actor
from tidings.editing.articles import StatusError
from tidings.editing.fields import FieldError
from tidings.importing.rows import make_slug
from tidings.news.articles import ArticleNotFoundError, Articles
from tidings.news.channels import FOR_YOU, ChannelNotFoundError, read_channels
from tidings.news.rearranging import ChannelTakenError, ChannelUsedError
from tidings.process.clock import now_ms
from tidings.process.settings import Settings, load_settings
from tidings.sources.records import SourceNotFoundError
from tidings.sources.registry import SourceError
from tidings.store.opening import open_database
from tidings.store.redis import make_redis

T = TypeVar("T")
REFUSALS = (
    ArticleNotFoundError,
    ChannelNotFoundError,
    ChannelTakenError,
    ChannelUsedError,
    FieldError,
    SourceError,
    SourceNotFoundError,
    StatusError,
)


def change(work: Callable[[Act], T]) -> T:
    """Do a change as the user of the shell.

    Raises:
        ClickException: it is refused; nothing is changed.
    """
    with open_articles(load_settings()) as (engine, stored), one_line():
        return perform(engine, shell_actor(), stored, work)


@contextmanager
def open_articles(settings: Settings) -> Iterator[tuple[Engine, Articles]]:
    """The database, and the articles with their caches; if those miss a change, that is said in
    one line."""
    engine = open_database(settings)
    redis = make_redis(settings.redis)
    ttl_s = settings.gateway.card_ttl_s
    stale: list[int] = []
    stored = Articles(
        engine,
        redis,
        card_ttl_s=ttl_s,
        clock=now_ms,
        on_stale=lambda ids, _: stale.extend(ids),
    )
    try:
        yield engine, stored
    finally:
        redis.close()
        engine.dispose()
        if stale:
            click.echo(
                f"Redis does not answer: readers may see what changed as it was for {ttl_s} s",
                err=True,
            )


@contextmanager
def one_line() -> Iterator[None]:
    """What is refused is one line, and no traceback."""
    try:
        yield
    except REFUSALS as ex:
        raise click.ClickException(str(ex)) from None


def check_channel_name(name: str | None) -> None:
    """Raises:
    BadParameter: `--channel` was given, and can name no channel.
    """
    if name is not None and not make_slug(name):
        raise click.BadParameter(
            "a channel's name needs a letter or a digit", param_hint="--channel"
        )


def find_channel(conn: Connection, named: str) -> int:
    """The number of a channel that is named by it, or by its slug.

    Raises:
        ClickException: there is none.
    """
    for known in (FOR_YOU, *read_channels(conn)):
        if named in (known.slug, str(known.channel_id)):
            return known.channel_id
    raise click.ClickException(f"there is no channel {named!r}; `tidings channels list`")
