"""The parts of the site. "For you" is all of them together: number 0, and no row of the table.

Every process asks for the channels all the time and they change a few times a year, so `Channels`
remembers them for two seconds. Rejected: a notice through Redis; it can be lost, and two seconds
are soon over.

    channels = Channels(engine, clock=now_ms)
    channels.channel(FOR_YOU.channel_id).name  # "For you"
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

import msgspec
import structlog
from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from tidings.news.tables import channel
from tidings.process.clock import Clock

CHANNELS_TTL_MS = 2000
# As what a deleted channel is merged into.
DELETED = 0

log = structlog.get_logger(__name__)


class ChannelNotFoundError(Exception):
    """There is no such channel."""

    def __init__(self, channel_id: int) -> None:
        super().__init__(f"there is no channel {channel_id}")
        self.channel_id = channel_id


class Channel(msgspec.Struct, frozen=True):
    """A part of the site."""

    channel_id: int
    slug: str
    name: str


FOR_YOU = Channel(channel_id=0, slug="for-you", name="For you")


def is_every_channel(channel_id: int) -> bool:
    """True for "for you", which has the articles of every channel."""
    return channel_id == FOR_YOU.channel_id


def read_channels(conn: Connection) -> list[Channel]:
    """The channels of the table, in the order of their ids, so without "for you"."""
    query = select(channel.c.id, channel.c.slug, channel.c.name).order_by(channel.c.id)
    rows = conn.execute(query.where(channel.c.merged_into.is_(None)))
    return [Channel(channel_id=row.id, slug=row.slug, name=row.name) for row in rows]


def read_channel_ids(conn: Connection) -> frozenset[int]:
    """The channels of the table, for a process that asks again every second."""
    return frozenset(conn.scalars(select(channel.c.id).where(channel.c.merged_into.is_(None))))


def ensure_channels(conn: Connection, names: Mapping[str, str]) -> dict[str, int]:
    """Slug → id of these channels; those that are missing, or were deleted, are opened.

    A channel that was merged is the one that it is part of. Where no channel has the slug, one that
    has the very name is meant: slugs of other alphabets were once made without their marks.

    Args:
        conn: in a transaction of the caller's.
        names: slug → the name that a new channel gets.

    Raises:
        IntegrityError: another transaction opened one of them meanwhile; run this one again.
    """
    ids = _ids(conn, names)
    ids |= _ids_by_name(conn, {slug: names[slug] for slug in names.keys() - ids.keys()})
    # In order, so that two imports wait for each other instead of dead-locking.
    if missing := sorted(names.keys() - ids.keys()):
        conn.execute(insert(channel), [{"slug": slug, "name": names[slug]} for slug in missing])
        ids |= _ids(conn, missing)
    return ids


def _ids_by_name(conn: Connection, names: Mapping[str, str]) -> dict[str, int]:
    if not names:
        return {}
    is_open = channel.c.merged_into.is_(None)
    query = select(channel.c.id, channel.c.name).where(is_open)
    # Compared here again: to some databases names that differ in a mark are the same.
    found = {
        row.name: row.id for row in conn.execute(query.where(channel.c.name.in_(names.values())))
    }
    return {slug: found[name] for slug, name in names.items() if name in found}


def _ids(conn: Connection, slugs: Collection[str]) -> dict[str, int]:
    if not slugs:
        return {}
    query = select(channel.c.slug, channel.c.id, channel.c.merged_into)
    # None of them is merged or deleted before what is to stand in it is stored.
    query = query.where(channel.c.slug.in_(list(slugs))).with_for_update(read=True)
    found = conn.execute(query).all()
    if deleted := sorted(row.id for row in found if row.merged_into == DELETED):
        conn.execute(update(channel).where(channel.c.id.in_(deleted)).values(merged_into=None))
    return {row.slug: row.merged_into or row.id for row in found}


class Channels:
    """Reads the channels for the web side; one object for all threads.

    Args:
        engine: the database.
        clock: now, in ms since the epoch.
    """

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._known: tuple[int, dict[int, Channel]] = (-CHANNELS_TTL_MS, {})
        self._lock = threading.Lock()

    def channels(self) -> list[Channel]:
        """ "For you" and every channel, in the order of their ids. At most two seconds old."""
        return list(self._read().values())

    def channel(self, channel_id: int) -> Channel:
        """One channel.

        Raises:
            ChannelNotFoundError: there is none of this id.
        """
        try:
            return self._read()[channel_id]
        except KeyError:
            raise ChannelNotFoundError(channel_id) from None

    def _read(self) -> dict[int, Channel]:
        now_ms = self._clock()
        channels = self._fresh_enough(now_ms)
        # One caller reads them again; meanwhile a slow database holds up no caller who can be
        # given the last known ones.
        if channels is None and self._lock.acquire(blocking=not self._known[1]):
            try:
                channels = self._fresh_enough(now_ms) or self._refresh(now_ms)
            finally:
                self._lock.release()
        return self._known[1] if channels is None else channels

    def _fresh_enough(self, now_ms: int) -> dict[int, Channel] | None:
        read_at_ms, channels = self._known
        return channels if 0 <= now_ms - read_at_ms < CHANNELS_TTL_MS else None

    def _refresh(self, now_ms: int) -> dict[int, Channel]:
        _, channels = self._known
        try:
            channels = self._load()
        except SQLAlchemyError as ex:
            if not channels:
                raise
            log.warning("channels_not_read", error=repr(ex))
        self._known = (now_ms, channels)
        return channels

    def _load(self) -> dict[int, Channel]:
        with self._engine.connect() as conn:
            return {known.channel_id: known for known in (FOR_YOU, *read_channels(conn))}
