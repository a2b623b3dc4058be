"""`/reader/chat-ticket`: how a page or a program comes to the chat.

The chat is a program of its own at an address of its own, or behind the same proxy. Who calls is
known here, by cookie or by key, and a page can read neither: it asks for a ticket, and is told the
address with it. Rejected: the address in the page's source, which is the same for all who ask.

    curl -X POST -H "X-Reader: $READER" http://127.0.0.1:8000/reader/chat-ticket
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import falcon
import msgspec

from tidings.http.bodies import answer_json
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import read_parameters
from tidings.process.listening import UNIX, split_bind
from tidings.process.settings import Settings
from tidings.readers.tickets import Tickets

SOCKET_PATH = "/ws"
# The name stands in a content policy, where a `;` would begin a rule of its own.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
_PORT = re.compile(r":[0-9]+$", re.ASCII)


class TicketShown(msgspec.Struct, frozen=True):
    """Good for one socket until `expires_at`, in ms since 1970.

    `url` is where the socket is opened, `rest` what the chat's paths begin with, such as
    `/conversations` and `/events`.
    """

    ticket: str
    expires_at: int
    url: str
    rest: str


@dataclass(frozen=True, slots=True)
class ChatAddress:
    """Where the chat is, for a page that came to this door under some name.

    Attributes:
        url: its origin, where an operator has set it.
        port: where it listens otherwise, on the host that the page came to; None for a unix socket,
            which a proxy has behind the page's own origin.
        site: the host of the site and perhaps a port, for a caller that names none.
    """

    url: str
    port: int | None
    site: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        bind = settings.chat.bind
        return cls(
            url=settings.chat.url,
            port=None if bind.startswith(UNIX) else split_bind(bind)[1],
            site=urlsplit(settings.site.url).netloc,
        )

    def origin(self, req: falcon.Request) -> str:
        """The origin of the chat's paths, as a browser writes it."""
        if self.url:
            return self.url
        host = (req.netloc if _HOST.fullmatch(req.netloc) else self.site).lower()
        # A page that came over HTTPS may open no plain socket, and only a proxy speaks TLS.
        if req.scheme == "https" or self.port is None:
            return f"{req.scheme}://{host}"
        return f"http://{_PORT.sub('', host)}:{self.port}"


def socket_origin(origin: str) -> str:
    """The origin of sockets: `wss://news.example` for `https://news.example`."""
    return f"ws{origin.removeprefix('http')}"


class ChatTicketResource:
    """`POST /reader/chat-ticket`."""

    needs_reader = True
    limit_class = LimitClass.WRITE
    operations = {
        "post": Operation(
            "A ticket that admits the caller to the chat, once, and where the chat is",
            answers=TicketShown,
        )
    }

    def __init__(self, tickets: Tickets, address: ChatAddress) -> None:
        self._tickets = tickets
        self._address = address

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        caller = req.context.caller
        ticket = self._tickets.issue(caller.reader_id, caller.key)
        origin = self._address.origin(req)
        answer_json(
            resp,
            TicketShown(
                ticket=ticket.text,
                expires_at=ticket.expires_at,
                url=f"{socket_origin(origin)}{SOCKET_PATH}",
                rest=origin,
            ),
        )
