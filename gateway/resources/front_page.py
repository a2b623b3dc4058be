"""The reader's page at `/`.

It is the same for all, and yet its answer is one reader's: it carries their cookie. Rejected: the
first of the page's requests as the one that makes a reader; there are several at once, and each
would make one.

    app.add_route("/", FrontPageResource(read_pages()["index.html"].decode(), chat, masthead))
"""

from __future__ import annotations

from functools import cached_property

import falcon
import jinja2

from gateway.resources.chat import ChatAddress, socket_origin
from tidings.http.caching import PAGE_OF_READER
from tidings.http.pages import CONTENT_POLICY, PageResource
from tidings.news.rendering.masthead import Masthead


class FrontPageResource:
    """`GET /`. A reader has an id before the page's script asks for anything, perhaps twice at
    once; and each visit renews the id's cookie for another year. The chat is the one other address
    that its script may speak to."""

    needs_reader = True
    serves_nobody = True
    renews_reader = True
    caching = PAGE_OF_READER

    def __init__(self, template: str, chat: ChatAddress, masthead: Masthead) -> None:
        self._template = template
        self._chat = chat
        self._masthead = masthead

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        self._page.on_get(req, resp)
        origin = self._chat.origin(req)
        # Not every browser takes 'self' for the socket of the page's own origin.
        allowed = f"{origin} {socket_origin(origin)}"
        resp.set_header(
            "Content-Security-Policy", f"{CONTENT_POLICY}; connect-src 'self' {allowed}"
        )

    @cached_property
    def _page(self) -> PageResource:
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        page = environment.from_string(self._template).render(site=self._masthead)
        return PageResource("index.html", page.encode())
