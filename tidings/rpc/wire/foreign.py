"""Dialects that come to the door and are not spoken here: recognised, and answered in their own.

A client that only sees its connection closed looks for the fault in the network. So each of those
that a Thrift port meets gets an answer that its own library shows: a web client a page, a client of
Thrift's JSON or of compressed messages an exception, a TLS client an alert. Rejected: speaking JSON
and HTTP too; both cost more than they carry, and the gateway does it.

    refusal = recognise(b"GET / HTTP/1.1")
    refusal.dialect, refusal.answer    # "HTTP", b"HTTP/1.1 400 Bad Request…"
"""

from __future__ import annotations

from typing import Any, NamedTuple

from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TJSONProtocol import TJSONProtocol
from thrift.Thrift import TApplicationException, TMessageType
from thrift.transport.THeaderTransport import THeaderSubprotocolID
from thrift.transport.TTransport import TMemoryBuffer, TTransportException

_SPOKEN = "this port speaks Thrift: binary or compact, framed or not, uncompressed, without TLS"
_WEB = (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"DELE", b"PATC", b"PRI ")
_TLS_BEGINS = b"\x16\x03"
# A fatal alert, "protocol version": what a TLS library shows as such.
_TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x46"
_JSON_BEGINS = b"[1,"
_HEADER_MAGIC = b"\x0f\xff"
_HEADER_PROTOCOLS = (THeaderSubprotocolID.BINARY, THeaderSubprotocolID.COMPACT)


class Refusal(NamedTuple):
    """Which dialect it is, and what to say to the peer that speaks it."""

    dialect: str
    answer: bytes


class DialectError(TTransportException):  # type: ignore[misc]  # thrift has no annotations
    """The peer speaks something else, and was told so."""

    def __init__(self, dialect: str) -> None:
        super().__init__(TTransportException.INVALID_CLIENT_TYPE, f"{dialect} is not spoken here")
        self.dialect = dialect


def recognise(arrived: bytes) -> Refusal | None:
    """What begins with these bytes, if that is known and not spoken here."""
    for dialect, begins, answer in _DIALECTS:
        if arrived.startswith(begins):
            return Refusal(dialect, answer())
    frame = arrived[4:]
    if frame.startswith(_JSON_BEGINS):
        return Refusal("JSON", _framed(_json_answer()))
    if frame.startswith(_HEADER_MAGIC) and len(frame) >= 12:
        # The magic, two bytes of flags, four of the message's number, two of the headers' length;
        # then the numbers of the protocol and of the transforms.
        protocol, transforms = frame[10:12]
        if transforms or protocol not in _HEADER_PROTOCOLS:
            dialect = "compressed messages" if transforms else "another protocol in headers"
            return Refusal(dialect, _header_answer(frame[4:8]))
    return None


def _web_answer() -> bytes:
    body = f"{_SPOKEN}; the pages and the JSON are the gateway's\n".encode()
    head = (
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def _json_answer() -> bytes:
    return _written(TJSONProtocol, TApplicationException.INVALID_PROTOCOL)


def _header_answer(number: bytes) -> bytes:
    message = _written(TBinaryProtocol, TApplicationException.INVALID_TRANSFORM)
    return _framed(_HEADER_MAGIC + b"\0\0" + number + b"\0\1" + bytes(4) + message)


def _written(protocol_type: Any, kind: int) -> bytes:
    sink = TMemoryBuffer()
    protocol = protocol_type(sink)
    protocol.writeMessageBegin("", TMessageType.EXCEPTION, 0)
    TApplicationException(kind, _SPOKEN).write(protocol)
    protocol.writeMessageEnd()
    written: bytes = sink.getvalue()
    return written


def _framed(message: bytes) -> bytes:
    return len(message).to_bytes(4) + message


_DIALECTS = (
    ("HTTP", _WEB, _web_answer),
    ("TLS", _TLS_BEGINS, lambda: _TLS_ALERT),
    ("JSON", _JSON_BEGINS, _json_answer),
)
