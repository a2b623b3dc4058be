"""Why a socket is closed: the one table of close codes, each with whether its client comes back.

A client that reconnects after a close that it caused would meet it again, and a crowd of such
clients is an attack by friends; so each code says which it is, and the clients' tests cover every
row. Codes from 4000 on are the application's own (RFC 6455, 7.4.2); the others mean what the RFC
and its registry say. Rejected: one code with a reason in words, which a program cannot act on.

    session.close(Closing.BUSY)
"""

from __future__ import annotations

from enum import Enum, StrEnum


class Comeback(StrEnum):
    """What a client does after a close."""

    NEVER = "do not"
    LATER = "reconnect"
    ANEW = "reconnect with a new ticket"


class Closing(Enum):
    """A close code, what its client does, and what happened."""

    LEFT = 1000, Comeback.NEVER, "the client is done"
    SILENT = 1001, Comeback.LATER, "nothing was heard of the client for a while"
    PROTOCOL = 1002, Comeback.NEVER, "a frame is against the protocol"
    BINARY = 1003, Comeback.NEVER, "a message is binary, and only text is read"
    NOT_UTF8 = 1007, Comeback.NEVER, "a message is not UTF-8"
    TOO_BIG = 1009, Comeback.NEVER, "a message is too long, or in too many fragments"
    RESTART = 1012, Comeback.LATER, "the server stops; a bye said when to come back"
    BUSY = 1013, Comeback.LATER, "the client is too slow, or the server has too much to do"
    BAD_FRAME = 4400, Comeback.NEVER, "a message is no JSON, or no frame that there is"
    NOT_ADMITTED = 4401, Comeback.ANEW, "no ticket, a used one, or a key that was revoked"
    NO_HELLO = 4408, Comeback.LATER, "the client did not say hello in time"
    REPLACED = 4409, Comeback.NEVER, "the reader opened more sockets than one may have"
    FLOOD = 4429, Comeback.LATER, "more messages than one may send"

    def __init__(self, code: int, comeback: Comeback, meaning: str) -> None:
        self.code = code
        self.comeback = comeback
        self.meaning = meaning
