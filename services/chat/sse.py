"""The same events over HTTP, for a client that cannot open a socket: `GET /events`.

A stream is told what a socket is told, by the same hub, with the same places as ids: a browser
shows the last one by itself when it comes back. What such a client has to say it says over REST. A
comment each 15 seconds tells both ends and every proxy between that the other is there. A stream
that is not read is ended once it is owed as much as a socket may be. Rejected: long polling; it is
a request for each event, and a gap between two of them. The format has no word for "do not come
back", so an event `close` says it, with the code that a socket would be closed by.

    app.add_route("/events", Events(host, sessions))
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from functools import partial

import falcon
import msgspec

from services.chat.closing import Closing, Comeback
from services.chat.cutting import cut
from services.chat.frames import MOST_TOPICS
from services.chat.framing import frame_message
from services.chat.hosting import Host, UnavailableError
from services.chat.outbox import MOST_OWED_BYTES
from services.chat.sessions import Sessions
from tidings.http.errors import InvalidRequestError, OverloadedError
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import HeaderParameter, TextParameter, read_parameters, read_text
from tidings.readers.keys import Role

KEEP_ALIVE_S = 15.0
TYPE = "text/event-stream"
POS = TextParameter(
    "pos", 64, "the place of the last event that was processed, where a client cannot set a header"
)
TOPICS = TextParameter(
    "topics", 512, f"up to {MOST_TOPICS} topics to be told as well, with commas between"
)
LAST_EVENT_ID = HeaderParameter(
    "Last-Event-ID", "the id of the last event that was processed; wins over `pos`"
)
# A browser that lost a stream comes back then, at a moment of its own.
_RETRY_MS = (1000, 5000)
# One that must not come back cannot be told so in the format: it comes back late.
_LATE_MS = 60_000
_POS = b'{"pos":"'


class Stream:
    """A stream of events, which is told things as a socket is.

    Args:
        cut: ends the connection of a client that does not read.
    """

    def __init__(
        self, *, reader_id: int, role: Role | None, key_id: int | None, cut: Callable[[], object]
    ) -> None:
        self.reader_id = reader_id
        self.role = role
        self.key_id = key_id
        self.is_open = True
        self._cut = cut
        self._news = threading.Event()
        retry_ms = random.randint(*_RETRY_MS)  # noqa: S311 - to spread clients, not to hide
        self._waiting = [b"retry: %d\n\n" % retry_ms]
        self._owed_bytes = 0

    def push(self, framed: bytes) -> None:
        """Send what is in a frame. It neither waits nor raises."""
        if not self.is_open:
            return
        self._owed_bytes += len(framed)
        if self._owed_bytes > MOST_OWED_BYTES:
            self.close(Closing.BUSY)
            self._cut()
            return
        self._waiting.append(_format(payload_of(framed)))
        self._news.set()

    def say(self, message: msgspec.Struct) -> None:
        """Send a message of `frames` to this client alone. It neither waits nor raises."""
        self.push(frame_message(message))

    def close(self, closing: Closing, retry_after_ms: int | None = None) -> None:
        """End it with an event that says why. It neither waits nor raises."""
        if self.is_open:
            self.is_open = False
            if closing.comeback is Comeback.NEVER:
                retry_after_ms = _LATE_MS
            self._waiting.append(_format_close(closing, retry_after_ms))
            self._news.set()

    def take(self) -> bytes:
        """What is to be sent, after waiting for it: a comment if nothing came for a while, nothing
        at all when it is over."""
        if not self._waiting and self.is_open:
            self._news.wait(KEEP_ALIVE_S)
        self._news.clear()
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._owed_bytes = 0
        return data or (b":\n\n" if self.is_open else b"")


class _Body:
    """What the server iterates, and closes in any case, also where it was never begun."""

    def __init__(self, stream: Stream, leave: Callable[[Stream], object]) -> None:
        self._stream = stream
        self._leave = leave

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream.take, b"")

    def close(self) -> None:
        self._stream.is_open = False
        self._leave(self._stream)


class Events:
    """`GET /events`."""

    needs_reader = True
    mints_reader = False
    limit_class = LimitClass.CHAT_READ
    operations = {
        "get": Operation(
            "Everything that a socket is told, as a stream of events",
            parameters=(POS, TOPICS),
            headers=(LAST_EVENT_ID,),
        )
    }

    def __init__(self, host: Host, sessions: Sessions) -> None:
        self._host = host
        self._sessions = sessions

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req, [], texts=[POS, TOPICS])
        pos = (req.get_header("Last-Event-ID") or read_text(req, POS))[: POS.most_chars]
        topics = _read_topics(req)
        caller = req.context.caller
        stream = Stream(
            reader_id=caller.reader_id,
            role=caller.key and caller.key.role,
            key_id=caller.key and caller.key.key_id,
            cut=partial(cut, req.env["gunicorn.socket"]),
        )
        self._sessions.add(stream)
        try:
            self._host.join(stream, pos or None, topics)
        except UnavailableError as ex:
            self._leave(stream)
            raise OverloadedError(str(ex)) from None
        resp.content_type = TYPE
        # Or nginx would keep events until it has enough of them.
        resp.set_header("X-Accel-Buffering", "no")
        resp.stream = _Body(stream, self._leave)

    def on_head(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Says what GET would, and opens no stream."""
        resp.content_type = TYPE

    def _leave(self, stream: Stream) -> None:
        self._sessions.remove(stream)
        self._host.leave(stream)


def _read_topics(req: falcon.Request) -> list[str]:
    topics = [topic for topic in read_text(req, TOPICS).split(",") if topic]
    if len(topics) > MOST_TOPICS:
        raise InvalidRequestError({TOPICS.name: f"must be at most {MOST_TOPICS}"})
    return topics


def payload_of(frame: bytes) -> bytes:
    """What is in a WebSocket frame that a server made."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


def _format(payload: bytes) -> bytes:
    """An event of the stream. JSON has no line breaks of its own."""
    if not payload.startswith(_POS):
        return b"data: %b\n\n" % payload
    pos = payload[len(_POS) : payload.index(b'"', len(_POS))]
    return b"id: %b\ndata: %b\n\n" % (pos, payload)


def _format_close(closing: Closing, retry_after_ms: int | None) -> bytes:
    retry = b"retry: %d\n" % retry_after_ms if retry_after_ms is not None else b""
    said = msgspec.json.encode({"code": closing.code, "comeback": closing.comeback})
    return b"%bevent: close\ndata: %b\n\n" % (retry, said)
