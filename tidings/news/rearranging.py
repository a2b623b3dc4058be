"""Channels as editors change them: opened, renamed, merged into others, deleted.

A slug is what sources call a channel, so it stays for good; a name is what readers see, and may
change. A channel that was merged or deleted keeps its row: what a source says for it goes into the
other, or opens it anew. Rejected: slugs that change; the next import would open the old one again.

    with transaction(engine) as conn:
        rename_channel(conn, 3, "Science")
"""

from __future__ import annotations

from sqlalchemy import Connection, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from tidings.news.channels import DELETED, Channel, ChannelNotFoundError
from tidings.news.tables import article, channel


class ChannelTakenError(Exception):
    """There is a channel of this slug, or sources call another one so since they were merged."""

    def __init__(self, slug: str) -> None:
        super().__init__(f"there is a channel {slug!r} already")


class ChannelUsedError(Exception):
    """Articles stand in the channel, or a source delivers into it."""


def lock_channel(conn: Connection, channel_id: int) -> Channel:
    """The channel, which no other changes until the transaction ends.

    Raises:
        ChannelNotFoundError: there is none of this id.
    """
    query = select(channel).where(channel.c.id == channel_id, channel.c.merged_into.is_(None))
    row = conn.execute(query.with_for_update()).first()
    if row is None:
        raise ChannelNotFoundError(channel_id)
    return Channel(channel_id=row.id, slug=row.slug, name=row.name)


def open_channel(conn: Connection, slug: str, name: str) -> Channel:
    """Open a channel, also one that was deleted.

    Raises:
        ChannelTakenError: there is one of this slug.
    """
    known = conn.execute(select(channel).where(channel.c.slug == slug).with_for_update()).first()
    if known is not None and known.merged_into != DELETED:
        raise ChannelTakenError(slug)
    if known is not None:
        values = {"name": name, "merged_into": None}
        conn.execute(update(channel).where(channel.c.id == known.id).values(values))
        return Channel(channel_id=known.id, slug=slug, name=name)
    try:
        stored = conn.execute(insert(channel).values(slug=slug, name=name))
    except IntegrityError:
        raise ChannelTakenError(slug) from None
    assert stored.inserted_primary_key is not None
    return Channel(channel_id=int(stored.inserted_primary_key[0]), slug=slug, name=name)


def rename_channel(conn: Connection, channel_id: int, name: str) -> None:
    """Have readers see another name; sources go on calling it by its slug."""
    conn.execute(update(channel).where(channel.c.id == channel_id).values(name=name))


def close_channel(conn: Connection, channel_id: int, *, into: int = DELETED) -> None:
    """Make a channel part of another, or none at all, with those that were merged into it.

    Raises:
        ChannelUsedError: articles stand in it.
    """
    if conn.scalar(select(exists().where(article.c.channel_id == channel_id))):
        raise ChannelUsedError(f"articles stand in channel {channel_id}; move or merge them first")
    mine = (channel.c.id == channel_id) | (channel.c.merged_into == channel_id)
    conn.execute(update(channel).where(mine).values(merged_into=into))
