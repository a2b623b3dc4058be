"""The reader's page at `/`.

It is the same for all, and yet its answer is one reader's: it carries their cookie. Rejected: the
first of the page's requests as the one that makes a reader; there are several at once, and each
would make one.

    app.add_route("/", FrontPageResource(read_pages()["index.html"], chat, Masthead.of(site)))
"""

from __future__ import annotations

import falcon
import jinja2

from gateway.resources.chat import ChatAddress, socket_origin
from tidings.http.caching import PAGE_OF_READER
from tidings.http.pages import CONTENT_POLICY, PageResource
from tidings.news.rendering.masthead import Masthead


class FrontPageResource(PageResource):
    """`GET /`. A reader has an id before the page's script asks for anything, perhaps twice at
    once; and each visit renews the id's cookie for another year. The chat is the one other address
    that its script may speak to."""

    needs_reader = True
    serves_nobody = True
    renews_reader = True
    caching = PAGE_OF_READER

    def __init__(self, content: bytes, chat: ChatAddress, masthead: Masthead) -> None:
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        page = environment.from_string(content.decode()).render(site=masthead)
        super().__init__("index.html", page.encode())
        self._chat = chat

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        super().on_get(req, resp)
        origin = self._chat.origin(req)
        # Not every browser takes 'self' for the socket of the page's own origin.
        allowed = f"{origin} {socket_origin(origin)}"
        resp.set_header(
            "Content-Security-Policy", f"{CONTENT_POLICY}; connect-src 'self' {allowed}"
        )
