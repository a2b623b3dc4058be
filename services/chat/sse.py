"""The same events over HTTP, for a client that cannot open a socket: `GET /events`.

A stream is told what a socket is told, by the same hub, with the same places as ids: a browser
shows the last one by itself when it comes back. What such a client has to say it says over REST. A
comment each 15 seconds tells both ends and every proxy between that the other is there. A stream
that is not read is ended once it is owed as much as a socket may be. Rejected: long polling; it is
a request for each event, and a gap between two of them.

    app.add_route("/events", Events(host, sessions))
"""

from __future__ import annotations

KEEP_ALIVE_S = 15.0
MOST_OWED = 256 * 1024
_POS = b'{"pos":"'


def payload_of(frame: bytes) -> bytes:
    """What is in a WebSocket frame that a server made."""
    length = frame[1]
    return frame[{126: 4, 127: 10}.get(length, 2) :]


def _format(payload: bytes) -> bytes:
    """An event of the stream. JSON has no line breaks of its own."""
    if not payload.startswith(_POS):
        return b"data: %b\n\n" % payload
    pos = payload[len(_POS) : payload.index(b'"', len(_POS))]
    return b"id: %b\ndata: %b\n\n" % (pos, payload)
