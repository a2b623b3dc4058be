"""An entry of the bus as it reached this node: framed once, for all who are to have it.

The same bytes go to every socket, and into the window for those who come back. A reader who blocks
the sender has the same frame without its words, so that numbers stay whole. Rejected: a frame made
for each socket; for ten thousand readers that is ten thousand times the work of one.

    arrival = Arrival.of(position, entry)
    socket.push(arrival.frame_for(7))
"""

from __future__ import annotations

from dataclasses import dataclass

from services.chat.framing import frame_text
from services.chat.positions import EntryId, Position
from tidings.talk.events import Entry, hide

# What a session is reached by: a reader's id, or the name of a topic.
Address = int | str


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """What is pushed.

    Attributes:
        addresses: who is to have it, each once.
        frame: a whole WebSocket frame.
        hidden_from: readers who have it without its words: `hidden_frame`.
        is_live: it is worth something now only, and never replayed.
    """

    id: EntryId
    addresses: tuple[Address, ...]
    frame: bytes
    hidden_from: frozenset[int]
    hidden_frame: bytes
    is_live: bool

    @classmethod
    def of(cls, position: Position, entry: Entry) -> Arrival:
        """Raises:
        Exception: of any kind, where what the bus carried is no entry of ours.
        """
        return cls(
            id=position.id,
            addresses=_read_addresses(entry.to),
            frame=frame_text(with_position(position, entry.frame)),
            hidden_from=frozenset(map(int, entry.hid.split(","))) if entry.hid else frozenset(),
            hidden_frame=_frame_hidden(position, entry) if entry.hid else b"",
            is_live=entry.live,
        )

    def frame_for(self, reader_id: int) -> bytes:
        """What this reader may see of it."""
        return self.hidden_frame if reader_id in self.hidden_from else self.frame


def with_position(position: Position, payload: bytes) -> bytes:
    """A JSON object that has at least one field, with its place on the bus put first."""
    return b'{"pos":"%b",%b' % (position.text.encode(), payload[1:])


def _frame_hidden(position: Position, entry: Entry) -> bytes:
    return frame_text(with_position(position, hide(entry.frame)))


def _read_addresses(to: str) -> tuple[Address, ...]:
    found = (int(one) if one.isdigit() else one for one in to.split(",") if one)
    return tuple(dict.fromkeys(found))
