"""A message as it goes over the wire, made once for all who get it.

What the server sends is not masked (RFC 6455, 5.1), so the bytes of a frame are the same for every
socket, and a message to ten thousand is framed once. Rejected: `send_text` of each socket's
protocol, which frames ten thousand times.

    framed = frame_text(b'{"type":"pong"}')
    for session in sessions:
        session.push(framed)
"""

from __future__ import annotations

import msgspec
from websockets.frames import Frame, Opcode

_encode = msgspec.json.Encoder().encode


def frame_text(payload: bytes) -> bytes:
    """One whole text message."""
    return Frame(Opcode.TEXT, payload).serialize(mask=False)


def frame_message(message: msgspec.Struct) -> bytes:
    """One of the shapes of `frames`, as a text message."""
    return frame_text(_encode(message))


PING = Frame(Opcode.PING, b"").serialize(mask=False)
