"""Tells those who are connected here what the bus carries, and joins them without a gap.

Joining takes the position first, then the state, then what came since: whatever is stored between
the first and the last step is told, and nothing twice, because the window holds what came since and
the last step never waits. Everything reaches a socket on this one way, what its own node stored
too, so that there is one order. A fan-out lets others run after every 200 sockets; a socket that
joins meanwhile is given the entry by the window, and is not among those the fan-out had found.
Rejected: a queue for each socket that joins; the window is one for all.

    start = hub.begin(7, ["article:42"], pos)
    hub.join(session, start)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import structlog
from prometheus_client import Counter, Gauge

from services.chat.arrivals import Arrival, with_position
from services.chat.audience import Audience
from services.chat.frames import Reset
from services.chat.framing import frame_message, frame_text
from services.chat.hosting import Listener
from services.chat.positions import EntryId, Position, read_position
from services.chat.window import Window
from tidings.talk.events import Entry, Event

# A hub that pushed to 10,000 sockets without a pause would read none of them for 160 ms.
PUSHES_AT_ONCE = 200
# An entry is read and framed in about 10 µs, and a window has 20,000.
TAKEN_AT_ONCE = 500
# A socket owes 256 KiB at most, and what is told live needs room beside the replay.
MOST_REPLAYED = 192 * 1024
# An entry that went onto the bus twice did so within seconds; these are 20 s at 1,000 a second.
MOST_REMEMBERED = 20_000

log = structlog.get_logger(__name__)
_ENTRIES = Counter("tidings_chat_bus_entries", "Entries read from the bus", ["outcome"])
_KEPT, _LIVE = _ENTRIES.labels("kept"), _ENTRIES.labels("live")
_PUSHES = Counter("tidings_chat_pushes", "Frames handed to sockets and SSE streams")
_JOINS = Counter("tidings_chat_joins", "Sockets that began to listen", ["outcome"])
_RESETS = Counter("tidings_chat_resets", "Sockets that were told to load anew", ["reason"])
_HERE = Gauge("tidings_chat_listeners", "Sockets and SSE streams that are told things")


class BusAwayError(Exception):
    """The bus was never reached, so there is no place from which everything could be told."""

    def __init__(self) -> None:
        super().__init__("the bus between the nodes of the chat is away")


class BusEntry(NamedTuple):
    """An entry as it was read from the bus.

    Attributes:
        stamp: the row of the outbox it comes from, and its place there; empty for what no row
            holds.
    """

    id: EntryId
    stamp: bytes
    entry: Entry


class Start(NamedTuple):
    """From where a listener will be told everything.

    Attributes:
        is_recovered: it will have missed nothing, so it need not load anything.
    """

    position: Position
    topics: Sequence[str]
    is_recovered: bool


class Hub:
    """Who is connected here, and what the bus carried last.

    Args:
        pause: lets other coroutines run; called between the parts of a fan-out.
    """

    def __init__(self, window: Window, *, pause: Callable[[], object] | None = None) -> None:
        self._window = window
        self._pause = pause or (lambda: time.sleep(0))
        self._epoch = ""
        self._audience = Audience()
        self._seen: dict[int, None] = {}
        self._pushed = 0

    @property
    def position(self) -> Position:
        """The place behind the newest entry of the bus."""
        return Position(self._epoch, self._window.last)

    def capacity(self) -> int:
        """How many entries are worth keeping on the bus: as many as a window holds."""
        return self._window.capacity

    def restart(self, position: Position, kept: Sequence[BusEntry], reason: str) -> None:
        """The bus goes on from a place that does not follow the last one without a gap, so all who
        are here have to load anew.

        Args:
            kept: what the bus carried just before that place, for those who come from other nodes.
            reason: why, for the client's log and the metric.
        """
        # While it is filled, the window is no answer to one who joins.
        self._epoch = ""
        self._window.begin(kept[0].id if kept else position.id)
        for number, entry in enumerate(kept, 1):
            self._take(position.epoch, entry)
            if number % TAKEN_AT_ONCE == 0:
                self._pause()
        self._epoch = position.epoch
        self._window.last = position.id
        listeners = self._audience.all()
        _RESETS.labels(reason).inc(len(listeners))
        self._push(listeners, self._frame_reset(reason))

    def deliver(self, entries: Sequence[BusEntry]) -> None:
        """Tell those who are here what the bus carried, in this order. One coroutine calls this."""
        for entry in entries:
            arrival = self._take(self._epoch, entry)
            if arrival is None:
                continue
            listeners = self._audience.find(arrival.addresses)
            if not arrival.hidden_from:
                self._push(listeners, arrival.frame)
                continue
            for listener in listeners:
                self._push([listener], arrival.frame_for(listener.reader_id))

    def begin(self, reader_id: int, topics: Sequence[str], pos: str | None) -> Start:
        """Where a listener stands: the first step of joining. Waits for nothing.

        Args:
            pos: of the last frame that its client had; None for a client that has loaded nothing.

        Raises:
            BusAwayError: the bus was never reached.
        """
        if not self._epoch:
            raise BusAwayError
        shown = read_position(pos) if pos else None
        if shown and self._missed(reader_id, topics, shown) is not None:
            return Start(shown, topics, is_recovered=True)
        return Start(self.position, topics, is_recovered=False)

    def join(self, listener: Listener, start: Start) -> None:
        """Tell a listener what came since it began, and from now on all that comes: the last step.

        If what it began with has gone meanwhile, it is told to load anew.
        """
        missed = self._missed(listener.reader_id, start.topics, start.position)
        self._audience.add(listener, start.topics)
        _HERE.set(len(self._audience))
        if missed is None:
            _JOINS.labels("reset").inc()
            listener.push(self._frame_reset("behind"))
            return
        _JOINS.labels("recovered" if start.is_recovered else "fresh").inc()
        for arrival in missed:
            listener.push(arrival.frame_for(listener.reader_id))
        _PUSHES.inc(len(missed))

    def leave(self, listener: Listener) -> None:
        """Tell it nothing more; it may never have joined."""
        self._audience.remove(listener)
        _HERE.set(len(self._audience))

    def subscribe(self, listener: Listener, topic: str) -> None:
        """Tell it what is for this topic, too."""
        self._audience.follow(listener, topic)

    def unsubscribe(self, listener: Listener, topic: str) -> None:
        """Tell it no more what is for this topic alone."""
        self._audience.unfollow(listener, topic)

    def say(self, topic: str, event: Event) -> None:
        """Tell those who follow a topic here what no other node tells; it has no place."""
        self._push(self._audience.find([topic]), frame_message(event))

    def listeners(self) -> Sequence[Listener]:
        """All who are here now."""
        return self._audience.all()

    def is_here(self, reader_id: int) -> bool:
        """Whether a reader has a connection to this node."""
        return self._audience.has(reader_id)

    def count_topics(self, listener: Listener) -> int:
        """How many it follows."""
        return len(self._audience.topics_of(listener))

    def followed(self, beginning: str) -> Mapping[int, Sequence[Listener]]:
        """The numbers of the topics of one kind, such as `presence:`, that are followed here, and
        by whom."""
        names = [name for name in self._audience.topics() if name.startswith(beginning)]
        return {int(name[len(beginning) :]): self._audience.find([name]) for name in names}

    def _take(self, epoch: str, entry: BusEntry) -> Arrival | None:
        """Into the window; None for what is told to no one: it was before, or it cannot be read."""
        self._window.last = entry.id
        if entry.stamp:
            seen = hash((entry.stamp, entry.entry.frame))
            if seen in self._seen:
                _ENTRIES.labels("again").inc()
                return None
            self._seen[seen] = None
            if len(self._seen) > MOST_REMEMBERED:
                del self._seen[next(iter(self._seen))]
        try:
            arrival = Arrival.of(Position(epoch, entry.id), entry.entry)
        except Exception as ex:  # noqa: BLE001 - set aside and counted; those behind it are told
            _ENTRIES.labels("damaged").inc()
            log.warning("bus_entry_damaged", entry_id=entry.id, error=repr(ex))
            return None
        (_LIVE if arrival.is_live else _KEPT).inc()
        self._window.append(arrival)
        return arrival

    def _push(self, listeners: Sequence[Listener], frame: bytes) -> None:
        _PUSHES.inc(len(listeners))
        done = 0
        while done < len(listeners):
            part = listeners[done : done + PUSHES_AT_ONCE - self._pushed]
            for listener in part:
                listener.push(frame)
            done += len(part)
            self._pushed += len(part)
            if self._pushed >= PUSHES_AT_ONCE:
                self._pushed = 0
                self._pause()

    def _missed(
        self, reader_id: int, topics: Sequence[str], position: Position
    ) -> list[Arrival] | None:
        """What it has to be told since; None where that is not known, or more than it may owe."""
        if position.epoch != self._epoch:
            return None
        missed = self._window.since(position.id, (reader_id, *topics))
        if missed is None or sum(len(arrival.frame) for arrival in missed) > MOST_REPLAYED:
            return None
        return missed

    def _frame_reset(self, reason: str) -> bytes:
        payload = msgspec.json.encode(Reset(reason=reason))
        return frame_text(with_position(self.position, payload))
