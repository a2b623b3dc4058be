"""What operators do with sources: add, change, pause, resume, remove.

The rules are those of `tidings.sources`; here an actor follows them, on the version that the actor
has seen, and it is entered in the audit log. What a look at a source changes (its next hour, its
failures) is no part of the version, or none would last until it is written back. Rejected: a
version of all that is stored, as articles have it.

    perform(engine, actor, articles, lambda act: add(act, "https://example.org/feed"))
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from tidings.editing.acting import Act, NotAllowedError, Seen, StaleRecordError
from tidings.editing.fields import FieldError
from tidings.news.channels import ChannelNotFoundError
from tidings.news.rearranging import lock_channel
from tidings.readers.keys import Role
from tidings.sources import registry
from tidings.sources.records import ACTIVE, PAUSED, Source, read_source

SOURCE = "source"
_DECIDED = ("kind", "name", "address", "title", "channel_id", "state", "every_s")
_DIGEST_CHARS = 32


class Changes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is different from now on; what is left out stays. `channel_id` is where articles that
    come from now on stand, null for the channel that the feed's own title names; `every_s` is how
    many seconds are between two looks."""

    title: str | UnsetType = UNSET
    channel_id: int | UnsetType | None = UNSET
    every_s: int | UnsetType = UNSET
    state: Literal["active", "paused"] | UnsetType = UNSET


def digest(source: Source) -> str:
    """Names this version of what operators decide about a source."""
    decided = [getattr(source, name) for name in _DECIDED]
    return hashlib.sha256(msgspec.json.encode(decided)).hexdigest()[:_DIGEST_CHARS]


def add(
    act: Act, address: str, *, channel_id: int | None = None, every_s: int = registry.EVERY_S
) -> Source:
    """Follow the feed at an address; one that is followed already stays as it is.

    Raises:
        SourceError: it is no address, or the schedule is out of bounds.
        FieldError: there is no such channel.
    """
    _need_operator(act)
    _check_channel(act, channel_id)
    known = registry.find_by_address(act.conn, registry.tidy_address(address))
    source_id = registry.ensure_feed(
        act.conn, address, added_by=act.actor.name, channel_id=channel_id, every_s=every_s
    )
    source = read_source(act.conn, source_id)
    if known is None or known.state != source.state:
        act.note("add", SOURCE, source_id, after=_noted(source))
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
    _check_channel(act, values.get("channel_id"))
    state = values.pop("state", known.state)
    if values:
        registry.change(act.conn, source_id, **values)
    if state != known.state and state == PAUSED:
        registry.pause(act.conn, source_id)
    if state != known.state and state == ACTIVE:
        registry.resume(act.conn, source_id, added_by=act.actor.name)
    source = read_source(act.conn, source_id)
    old, new = _noted(known), _noted(source)
    changed = [name for name in new if old[name] != new[name]]
    if changed:
        verb = {PAUSED: "pause", ACTIVE: "resume"}[state] if changed == ["state"] else "edit"
        act.note(
            verb,
            SOURCE,
            source_id,
            before={name: old[name] for name in changed},
            after={name: new[name] for name in changed},
        )
    return source


def remove(act: Act, source_id: int, *, seen: Seen = None) -> None:
    """Ask and show the source no more; its articles stay.

    Raises:
        SourceNotFoundError, SourceError, StaleRecordError: as of `change`.
    """
    known = _open(act, source_id, seen)
    registry.remove(act.conn, source_id)
    act.note("remove", SOURCE, source_id, before=_noted(known))


def _open(act: Act, source_id: int, seen: Seen) -> Source:
    _need_operator(act)
    known = read_source(act.conn, source_id, lock=True)
    if seen is not None and digest(known) not in seen:
        raise StaleRecordError(SOURCE, source_id)
    return known


def _need_operator(act: Act) -> None:
    if not act.actor.role.covers(Role.OPERATOR):
        raise NotAllowedError(f"this needs the role {Role.OPERATOR.value}")


def _check_channel(act: Act, channel_id: int | None) -> None:
    if channel_id is None:
        return
    try:
        lock_channel(act.conn, channel_id)
    except ChannelNotFoundError as ex:
        raise FieldError("channel_id", str(ex)) from None


def _noted(source: Source) -> dict[str, object]:
    return {name: getattr(source, name) for name in _DECIDED}
