"""Composes what the chat answers over HTTP: its routes behind the middleware of every door.

Callers, limits, problems, caching and origins are those of the gateway, so a client that knows one
knows both. Under one origin a proxy tells the two apart by path, so no path stands in both, but for
`/docs`, the address of every kind of problem. Rejected: these routes in the gateway, which would
then hold the chat's rules about presence, and its writer.

    app = create_rest(engine=engine, send=writer.send_and_wait, present=presence.who_is_here, ...)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.metadata import version

from sqlalchemy import Engine

from services.chat.rest.blocks import block_routes
from services.chat.rest.conversations import conversation_routes
from services.chat.rest.members import Present, member_routes
from services.chat.rest.messages import message_routes
from services.chat.rest.notices import notice_routes
from tidings.http.cursors import Cursors
from tidings.http.docs import DocsResource, OpenApiResource
from tidings.http.door import App, add_routes, make_door
from tidings.http.health import HealthResource
from tidings.http.limits import Quotas
from tidings.http.openapi import describe
from tidings.http.origins import Origins
from tidings.http.pages import PageResource, read_pages
from tidings.http.reader_id import ReaderSigner
from tidings.readers.checking import KeyCheck
from tidings.store.windows import SlidingWindows
from tidings.talk.sending import Refused, Send, Sent

ABOUT = "Tidings chat: conversations, messages and notices."
DESCRIPTION = "/chat/openapi.json"
# What the page at /chat/docs looks like, where no proxy has the gateway's files beside it.
STYLES = ("theme.css", "reader.css", "docs.css", "icon.svg")


def create_rest(
    *,
    engine: Engine,
    send: Callable[[Send], Sent | Refused],
    present: Present,
    events: object,
    signer: ReaderSigner,
    keys: KeyCheck,
    cursors: Cursors,
    windows: SlidingWindows,
    quotas: Quotas,
    origins: Origins,
    deadline_ms: int,
    is_ready: Callable[[], bool],
) -> App:
    """The WSGI app.

    Args:
        engine: tells what it stores to this node.
        send: stores a message; raises OverloadedError where that cannot be done now.
        present: which of some readers are connected.
        events: the resource of `/events`, a stream for those who can have no socket.
        signer: reads readers' ids.
        keys: tells the keys of programs and staff.
        cursors: signs and reads where lists go on.
        windows: count what is asked for.
        quotas: how much may be asked for.
        origins: whose pages may read answers and write with the reader's cookie.
        deadline_ms: the budget of one request.
        is_ready: whether requests may be sent here.
    """
    routes: dict[str, object] = {
        **conversation_routes(engine, cursors),
        **message_routes(engine, send),
        **member_routes(engine, present),
        **notice_routes(engine),
        **block_routes(engine, cursors),
        "/events": events,
        "/health/live": HealthResource("Is this process alive?", lambda: True),
        "/health/ready": HealthResource("May this process be sent requests?", is_ready),
    }
    app = make_door(
        deadline_ms=deadline_ms,
        origins=origins,
        signer=signer,
        keys=keys,
        windows=windows,
        quotas=quotas,
    )
    add_routes(app, routes | _page_routes(routes))
    return app


def _page_routes(routes: Mapping[str, object]) -> dict[str, object]:
    pages = read_pages()
    describing = cache(partial(describe, routes, ABOUT, version("tidings")))
    docs = DocsResource(pages["docs.html"].decode(), describing, DESCRIPTION)
    return {
        "/chat/docs": docs,
        "/docs": docs,
        DESCRIPTION: OpenApiResource(describing),
        **{f"/static/{name}": PageResource(name, pages[name]) for name in STYLES},
    }
