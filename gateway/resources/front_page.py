"""The reader's page at `/`.

It is the same for all, and yet its answer is one reader's: it carries their cookie. Rejected: the
first of the page's requests as the one that makes a reader; there are several at once, and each
would make one.

    app.add_route("/", FrontPageResource(read_pages()["index.html"], ChatAddress.of(settings)))
"""

from __future__ import annotations

import falcon

from gateway.resources.chat import ChatAddress, socket_origin
from tidings.http.caching import PAGE_OF_READER
from tidings.http.pages import CONTENT_POLICY, PageResource


class FrontPageResource(PageResource):
    """`GET /`. A reader has an id before the page's script asks for anything, perhaps twice at
    once; and each visit renews the id's cookie for another year. The chat is the one other address
    that its script may speak to."""

    needs_reader = True
    serves_nobody = True
    renews_reader = True
    caching = PAGE_OF_READER

    def __init__(self, content: bytes, chat: ChatAddress) -> None:
        super().__init__("index.html", content)
        self._chat = chat

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        super().on_get(req, resp)
        origin = self._chat.origin(req)
        # Not every browser takes 'self' for the socket of the page's own origin.
        allowed = f"{origin} {socket_origin(origin)}"
        resp.set_header(
            "Content-Security-Policy", f"{CONTENT_POLICY}; connect-src 'self' {allowed}"
        )
