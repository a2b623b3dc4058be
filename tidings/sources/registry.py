"""Who may deliver articles: sources are added, paused, resumed, moved to a channel, removed.

A source is known by its name for good: a feed by the address under which it was added, also after
it has moved, so that the same address added again is the same source and its articles stay its own.

    with transaction(engine) as conn:
        source_id = ensure_feed(conn, "https://example.org/feed", added_by="shell:ottoline")
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy import Connection, insert, or_, select, update

from tidings.sources.owning import find_key_source
from tidings.sources.records import (
    ACTIVE,
    FEED,
    KEY,
    LIST,
    PAUSED,
    REMOVED,
    UNLISTED,
    Source,
    make_source,
    read_source,
)
from tidings.sources.tables import source
from tidings.store.engine import database_now

# As often as feeds were read before sources had a schedule of their own.
EVERY_S = 3600
# A minute is how often the job looks; a week is longer than most feeds keep an entry.
SHORTEST_S, LONGEST_S = 60, 7 * 86_400
LIST_EVERY_S = 86_400
MOST_ADDRESS = 2048
_LONGEST_NAME = 191


class SourceError(ValueError):
    """The source cannot be as is asked. The message says why."""


def ensure_feed(
    conn: Connection,
    address: str,
    *,
    added_by: str,
    channel_id: int | None = None,
    every_s: int = EVERY_S,
    state: str = ACTIVE,
) -> int:
    """The id of the feed at this address, which is added if no source has it.

    What was removed, and what is no longer listed, is followed again if `state` is active. The
    channel and the schedule are those of a new source; one that exists keeps its own.

    Raises:
        SourceError: it is no http or https address, or too long.
        IntegrityError: another transaction added it meanwhile; run this one again.
    """
    address = tidy_address(address)
    known = find_by_address(conn, address)
    if known is None:
        return _add_feed(
            conn, address, added_by, channel_id=channel_id, every_s=every_s, state=state
        )
    if known.state == REMOVED or (known.state == UNLISTED and state == ACTIVE):
        _follow_again(conn, known.source_id, added_by, state=state)
    return known.source_id


def ensure_key(conn: Connection, key_id: int, *, name: str) -> int:
    """The id of the source of all that an API key creates.

    Raises:
        IntegrityError: another transaction added it meanwhile; run this one again.
    """
    known = find_key_source(conn, key_id)
    if known is not None:
        return known
    return _insert(
        conn,
        kind=KEY,
        name=f"{KEY}:{key_id}",
        title=name[:128],
        added_by=f"{KEY}:{name}"[:128],
        due_at=None,
    )


def pause(conn: Connection, source_id: int) -> bool:
    """Ask the source no more until it is resumed; False if it is paused already.

    Raises:
        SourceNotFoundError: there is none of this id.
        SourceError: it is nothing that is asked.
    """
    known = _read_asked(conn, source_id)
    _change(conn, source_id, state=PAUSED)
    return known.state != PAUSED


def resume(conn: Connection, source_id: int, *, added_by: str) -> bool:
    """Ask the source again, at the next look of the job; False if it was active.

    What had left the list that named it is from now on the operator's who resumed it.

    Raises:
        SourceNotFoundError: there is none of this id.
        SourceError: it is nothing that is asked.
    """
    known = _read_asked(conn, source_id)
    owner = {"added_by": added_by} if known.state == UNLISTED else {}
    if known.state != ACTIVE:
        _change(conn, source_id, state=ACTIVE, failures=0, due_at=database_now(conn), **owner)
    return known.state != ACTIVE


def remove(conn: Connection, source_id: int) -> None:
    """Ask and show the source no more. Its articles stay, and are its own again if the same address
    is added again.

    Raises:
        SourceNotFoundError: there is none of this id.
        SourceError: it is nothing that is asked.
    """
    _read_asked(conn, source_id)
    _change(conn, source_id, state=REMOVED, channel_id=None)


def change(conn: Connection, source_id: int, **values: Any) -> None:
    """Set the title, the channel_id or every_s of a source.

    Raises:
        SourceNotFoundError: there is none of this id.
        SourceError: it is nothing that is asked, or the schedule is out of bounds.
    """
    _read_asked(conn, source_id)
    every_s = values.get("every_s")
    if every_s is not None and not SHORTEST_S <= every_s <= LONGEST_S:
        raise SourceError(f"every_s: {every_s}, expected {SHORTEST_S} to {LONGEST_S}")
    if every_s is not None:
        values["due_at"] = database_now(conn)
    _change(conn, source_id, **values)


def fix_channel(conn: Connection, source_id: int, channel_id: int) -> None:
    """Have the articles of a source stand in this channel from now on, unless it has one."""
    conn.execute(
        update(source)
        .where(source.c.id == source_id, source.c.channel_id.is_(None))
        .values(channel_id=channel_id)
    )


def move_channel(conn: Connection, channel_id: int, *, into: int | None) -> None:
    """For a channel that goes: its sources deliver into the other, or anew into the channel that
    each feed's title names."""
    conn.execute(update(source).where(source.c.channel_id == channel_id).values(channel_id=into))


def read_channel_id(conn: Connection, source_id: int) -> int | None:
    """Where the articles of a source stand; None until the first have come. It stays so until the
    transaction ends: a channel that is merged meanwhile is not written into."""
    query = select(source.c.channel_id).where(source.c.id == source_id)
    return conn.scalar(query.with_for_update(read=True))


def follow_list(
    conn: Connection, wanted: Mapping[str, int | None], *, added_by: str
) -> tuple[int, int]:
    """Make the sources that `added_by` named those of its list, address → channel or None.

    A source that another added, or an operator has paused, stays as it is; one that was named and
    is no longer in the list is asked no more, and its articles stay.

    Returns:
        How many were added or are followed again, and how many are asked no more.
    """
    channels = {tidy_address(address): channel_id for address, channel_id in wanted.items()}
    names = {make_name(address): address for address in channels}
    query = select(source).where(
        or_(
            source.c.added_by == added_by,
            source.c.name.in_(names),
            source.c.address.in_(channels),
        )
    )
    known = [make_source(row) for row in conn.execute(query.order_by(source.c.id.desc()))]
    by_name = {one.name: one for one in known}
    # Of several that stand there now, the one of the lowest id.
    by_address = {one.address: one for one in known}
    came = 0
    named = set()
    for name, address in names.items():
        found = by_name.get(name) or by_address.get(address)
        if found is None:
            _add_feed(conn, address, added_by, channel_id=channels[address])
            came += 1
            continue
        named.add(found.source_id)
        if found.state in (UNLISTED, REMOVED):
            _follow_again(conn, found.source_id, added_by)
            came += 1
    left = [
        one.source_id
        for one in known
        if one.added_by == added_by and one.source_id not in named and one.state == ACTIVE
    ]
    if left:
        conn.execute(update(source).where(source.c.id.in_(left)).values(state=UNLISTED))
    return came, len(left)


def find_by_address(conn: Connection, address: str) -> Source | None:
    """The source that was added under this address, or else the one that stands there now; a
    removed one too."""
    name = make_name(address)
    query = select(source).where(or_(source.c.name == name, source.c.address == address))
    found = [make_source(row) for row in conn.execute(query.order_by(source.c.id))]
    # Compared here again: to MariaDB addresses that differ in case are the same.
    there = (known for known in found if known.address == address)
    return next((known for known in found if known.name == name), next(there, None))


def tidy_address(address: str) -> str:
    """The address in one form: without spaces around it, without a fragment, the host in small
    letters.

    Raises:
        SourceError: it is no http or https address, or too long.
    """
    text = address.strip()
    try:
        parts = urlsplit(text)
        usable = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable or any(ord(char) <= 32 for char in text):
        raise SourceError(f"{text[:100]!r} is no http or https address")
    if parts.username is not None:
        raise SourceError(f"a user name in the address of {parts.hostname} is not supported")
    text = urlunsplit(
        (parts.scheme.lower(), parts.netloc.lower(), parts.path or "/", parts.query, "")
    )
    if len(text) > MOST_ADDRESS:
        raise SourceError(f"an address of {len(text)} characters, at most {MOST_ADDRESS}")
    return text


def is_list(address: str) -> bool:
    """True for the address of an OPML list, which its name tells: an answer must not turn a feed
    into a list of other addresses."""
    return urlsplit(address).path.lower().endswith(".opml")


def make_name(address: str) -> str:
    """What identifies the source of a tidy address."""
    if len(address) <= _LONGEST_NAME:
        return address
    return "sha256:" + hashlib.sha256(address.encode()).hexdigest()


def _read_asked(conn: Connection, source_id: int) -> Source:
    known = read_source(conn, source_id, lock=True)
    if known.kind not in (FEED, LIST):
        raise SourceError(f"source {source_id} is of kind {known.kind}, which is never asked")
    return known


def _add_feed(
    conn: Connection,
    address: str,
    added_by: str,
    *,
    channel_id: int | None,
    every_s: int = EVERY_S,
    state: str = ACTIVE,
) -> int:
    kind = LIST if is_list(address) else FEED
    return _insert(
        conn,
        kind=kind,
        name=make_name(address),
        address=address,
        added_by=added_by,
        channel_id=channel_id,
        every_s=LIST_EVERY_S if kind == LIST else every_s,
        state=state,
    )


def _follow_again(conn: Connection, source_id: int, added_by: str, *, state: str = ACTIVE) -> None:
    values = {"state": state, "added_by": added_by, "failures": 0}
    _change(conn, source_id, due_at=database_now(conn), **values)


def _insert(conn: Connection, **values: Any) -> int:
    now = database_now(conn)
    row = {"state": ACTIVE, "every_s": EVERY_S, "due_at": now, "created_at": now} | values
    key = conn.execute(insert(source).values(row)).inserted_primary_key
    assert key is not None
    return int(key[0])


def _change(conn: Connection, source_id: int, **values: Any) -> None:
    conn.execute(update(source).where(source.c.id == source_id).values(**values))
