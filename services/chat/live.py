"""What is worth something only now: who is typing, who came and who went.

It is stored nowhere, and left out of what a client that comes back is told. Rejected: a channel of
Redis of its own for it; a node would wait for two connections, and tell things in two orders.

    entry = live_entry(Typing(conversation_id=3, reader_id=7), to=[9])
    publisher.say(entry)
"""

from __future__ import annotations

from collections.abc import Iterable

from tidings.talk.events import Entry, Event, encode

# What is behind it is a reader's number.
PRESENCE = "presence:"


class Typing(Event, frozen=True, kw_only=True):
    """A member of a conversation is writing."""

    conversation_id: int
    reader_id: int


class Presence(Event, frozen=True, kw_only=True):
    """A reader came, or has gone."""

    reader_id: int
    is_here: bool


def live_entry(event: Event, *, to: Iterable[int | str], hid: Iterable[int] = ()) -> Entry:
    """For the bus, where those who come later do not find it.

    Args:
        hid: readers who hear nothing of it.
    """
    hidden = set(hid)
    addresses = ",".join(str(one) for one in to if one not in hidden)
    return Entry(encode(event), addresses, live=True)


def presence_topic(reader_id: int) -> str:
    """What is followed by those who want to know whether a reader is there."""
    return f"{PRESENCE}{reader_id}"
