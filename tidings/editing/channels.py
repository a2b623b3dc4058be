"""What editors do with channels: open, rename, merge, delete.

A channel in which articles stand is merged or emptied before it can be deleted, so that no command
can hide a thousand articles by one word. Rejected: to delete the articles along with it.

    perform(engine, actor, articles, lambda act: merge(act, 3, into=5))
"""

from __future__ import annotations

from tidings.editing.acting import Act, Seen
from tidings.editing.fields import FieldError
from tidings.editing.records import check_seen
from tidings.importing.rows import make_slug
from tidings.news import drafting, rearranging
from tidings.news.channels import FOR_YOU, Channel
from tidings.news.storing import LENGTHS
from tidings.readers.keys import Role
from tidings.sources.owning import find_delivering
from tidings.sources.registry import move_channel

CHANNEL = "channel"


def add(act: Act, name: str) -> Channel:
    """Open a channel.

    Raises:
        NotAllowedError: the actor is no editor.
        FieldError: it cannot be a name.
        ChannelTakenError: there is one of the same slug.
    """
    act.need(Role.EDITOR)
    name = _check_name(name)
    opened = rearranging.open_channel(act.conn, make_slug(name), name)
    act.note("add", CHANNEL, opened.channel_id, after={"slug": opened.slug, "name": name})
    return opened


def rename(act: Act, channel_id: int, name: str, *, seen: Seen = None) -> Channel:
    """Have readers see another name; what sources call the channel stays.

    Raises:
        ChannelNotFoundError: there is none of this id.
        NotAllowedError, StaleRecordError, FieldError: as elsewhere.
    """
    known = _open(act, channel_id, seen)
    name = _check_name(name)
    if name == known.name:
        return known
    rearranging.rename_channel(act.conn, channel_id, name)
    act.note("rename", CHANNEL, channel_id, before={"name": known.name}, after={"name": name})
    return Channel(channel_id=channel_id, slug=known.slug, name=name)


def merge(act: Act, channel_id: int, *, into: int, seen: Seen = None) -> int:
    """Have all that stands in a channel, and all that its sources will bring, stand in another;
    returns how many articles moved.

    Raises:
        ChannelNotFoundError: there is none of either id.
        NotAllowedError, StaleRecordError: as elsewhere.
        FieldError: both are the same.
    """
    act.need(Role.EDITOR)
    if into == channel_id:
        raise FieldError("into", "expected another channel")
    # In the order of their ids, as two who merge one into the other and back.
    for id_ in sorted((channel_id, into)):
        rearranging.lock_channel(act.conn, id_)
    known = _open(act, channel_id, seen)
    moved = drafting.move_all(act.conn, channel_id, into)
    move_channel(act.conn, channel_id, into=into)
    rearranging.close_channel(act.conn, channel_id, into=into)
    act.articles.forget_after(act.conn, moved)
    act.note(
        "merge",
        CHANNEL,
        channel_id,
        before={"slug": known.slug, "name": known.name},
        after={"into": into, "articles": len(moved)},
    )
    return len(moved)


def delete(act: Act, channel_id: int, *, seen: Seen = None) -> None:
    """Delete a channel in which nothing stands. A file or feed that names it opens it anew.

    Raises:
        ChannelNotFoundError: there is none of this id.
        NotAllowedError, StaleRecordError: as elsewhere.
        ChannelUsedError: articles stand in it, or a source delivers into it.
    """
    known = _open(act, channel_id, seen)
    if (source_id := find_delivering(act.conn, channel_id)) is not None:
        raise rearranging.ChannelUsedError(
            f"source {source_id} delivers into channel {channel_id}; remove it or merge the channel"
        )
    rearranging.close_channel(act.conn, channel_id)
    act.note("delete", CHANNEL, channel_id, before={"slug": known.slug, "name": known.name})


def _open(act: Act, channel_id: int, seen: Seen) -> Channel:
    act.need(Role.EDITOR)
    known = rearranging.lock_channel(act.conn, channel_id)
    check_seen(CHANNEL, channel_id, known, seen)
    return known


def _check_name(name: str) -> str:
    name = " ".join(name.split())
    slug = make_slug(name)
    if not slug:
        raise FieldError("name", "expected a letter or a digit in it")
    if slug == FOR_YOU.slug:
        raise FieldError("name", f"{slug!r} is the name of all channels together")
    if len(name) > LENGTHS.channel_name or len(slug) > LENGTHS.channel_slug:
        raise FieldError("name", f"{len(name)} characters, at most {LENGTHS.channel_slug}")
    return name
