"""What operators do with sources: add, change, pause, resume, remove.

The rules are those of `tidings.sources`; here an actor follows them, on the version that the actor
has seen, and it is entered in the audit log. Rejected: those rules here; the job that asks sources
follows lists by them too.

    perform(engine, actor, articles, lambda act: add(act, "https://example.org/feed"))
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from tidings.editing.acting import Act, Seen
from tidings.editing.audit import find_changes
from tidings.editing.fields import ChannelId, need_channel
from tidings.editing.records import check_seen, read_decided
from tidings.readers.keys import Role
from tidings.sources import registry
from tidings.sources.records import ACTIVE, PAUSED, Source, read_source

SOURCE = "source"


class Changes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is different from now on; what is left out stays. `channel_id` is where articles that
    come from now on stand, null for the channel that the feed's own title names; `every_s` is how
    many seconds are between two looks."""

    title: str | UnsetType = UNSET
    channel_id: ChannelId | UnsetType | None = UNSET
    every_s: int | UnsetType = UNSET
    state: Literal["active", "paused"] | UnsetType = UNSET


def add(
    act: Act, address: str, *, channel_id: int | None = None, every_s: int = registry.EVERY_S
) -> Source:
    """Follow the feed at an address; one that is followed already stays as it is.

    Raises:
        SourceError: it is no address, or the schedule is out of bounds.
        FieldError: there is no such channel.
    """
    act.need(Role.OPERATOR)
    if channel_id is not None:
        need_channel(act.conn, channel_id)
    known = registry.find_by_address(act.conn, registry.tidy_address(address))
    source_id = registry.ensure_feed(
        act.conn, address, added_by=act.actor.name, channel_id=channel_id, every_s=every_s
    )
    source = read_source(act.conn, source_id)
    if known is None or known.state != source.state:
        act.note("add", SOURCE, source_id, after=read_decided(source))
    return source


def change(act: Act, source_id: int, changes: Changes, *, seen: Seen = None) -> Source:
    """Change what is set, and pause or resume it.

    Raises:
        SourceNotFoundError: there is none of this id.
        SourceError: it is nothing that is asked, or the schedule is out of bounds.
        StaleRecordError: it was changed meanwhile.
        FieldError: there is no such channel.
    """
    known = _open(act, source_id, seen)
    given = msgspec.structs.asdict(changes)
    values = {name: value for name, value in given.items() if value is not UNSET}
    if values.get("channel_id") is not None:
        need_channel(act.conn, values["channel_id"])
    state = values.pop("state", known.state)
    if values:
        registry.change(act.conn, source_id, **values)
    if state != known.state and state == PAUSED:
        registry.pause(act.conn, source_id)
    if state != known.state and state == ACTIVE:
        registry.resume(act.conn, source_id, added_by=act.actor.name)
    source = read_source(act.conn, source_id)
    old, new = find_changes(read_decided(known), read_decided(source))
    if new:
        verb = {PAUSED: "pause", ACTIVE: "resume"}[state] if list(new) == ["state"] else "edit"
        act.note(verb, SOURCE, source_id, before=old, after=new)
    return source


def remove(act: Act, source_id: int, *, seen: Seen = None) -> None:
    """Ask and show the source no more; its articles stay.

    Raises:
        SourceNotFoundError, SourceError, StaleRecordError: as of `change`.
    """
    known = _open(act, source_id, seen)
    registry.remove(act.conn, source_id)
    act.note("remove", SOURCE, source_id, before=read_decided(known))


def _open(act: Act, source_id: int, seen: Seen) -> Source:
    act.need(Role.OPERATOR)
    known = read_source(act.conn, source_id, lock=True)
    check_seen(SOURCE, source_id, known, seen)
    return known
