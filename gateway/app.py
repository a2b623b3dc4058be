"""The gateway's composition root: routes, middleware and the one error table become a Falcon app.

Falcon rather than a larger framework: what a request costs here is what its resource does.
Collaborators come in as arguments, so a test builds the same app that production runs. Every route
stands here: a path that is not in this table is not served.

    app = create_app(articles=articles, shop=make_shop(settings, provider), ...)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import TypeAlias

import falcon
from sqlalchemy import Engine

from gateway.feed.ladder import Recommending
from gateway.resources.articles import ArticleResource, FeedResource, SimilarResource
from gateway.resources.behaviors import BehaviorsResource
from gateway.resources.channels import ChannelsResource
from gateway.resources.chat import ChatAddress, ChatTicketResource
from gateway.resources.front_page import FrontPageResource
from gateway.resources.marks import mark_routes
from gateway.resources.money import money_routes
from gateway.resources.orders import OrderResource, OrdersResource, ProductsResource
from gateway.resources.payments import CallbackResource, PaymentResource
from gateway.resources.reader import ReaderResource
from gateway.resources.shop import Shop
from tidings.http.caching import AnswerCaching
from tidings.http.caller import TellCaller
from tidings.http.cursors import Cursors
from tidings.http.docs import OpenApiResource, render_docs
from tidings.http.health import HealthResource
from tidings.http.limits import Limits, Quotas
from tidings.http.methods import AnswerForServer, with_head
from tidings.http.openapi import describe
from tidings.http.origins import EXPOSED, Origins, RefuseForeignWrites
from tidings.http.pages import PageResource, read_pages
from tidings.http.problems import answer_problem
from tidings.http.reader_id import ReaderSigner
from tidings.http.request_scope import RequestScope
from tidings.news.articles import Articles
from tidings.news.channels import Channels
from tidings.process.clock import Clock
from tidings.readers.checking import KeyCheck
from tidings.readers.tickets import Tickets
from tidings.reading.behaviour import Behaviours
from tidings.reading.marks import Marks
from tidings.reading.tracking import Tracker
from tidings.store.windows import SlidingWindows

ABOUT = "Tidings: personalised feeds of articles."
DESCRIPTION = "/openapi.json"
PROCESS = "gateway"
App: TypeAlias = "falcon.App[falcon.Request, falcon.Response]"


def create_app(
    *,
    articles: Articles,
    channels: Channels,
    recommending: Recommending,
    behaviours: Behaviours,
    tracker: Tracker,
    signer: ReaderSigner,
    keys: KeyCheck,
    tickets: Tickets,
    chat: ChatAddress,
    cursors: Cursors,
    marks: Marks,
    engine: Engine,
    shop: Shop,
    windows: SlidingWindows,
    quotas: Quotas,
    clock: Clock,
    deadline_ms: int,
    max_body_bytes: int,
    origins: Origins,
    is_ready: Callable[[], bool] = lambda: True,
) -> App:
    """The WSGI app.

    Args:
        tracker: issues tokens for what does not come from a feed.
        signer: signs and reads readers' ids.
        keys: tells the keys of programs and staff.
        tickets: admit readers to the chat.
        chat: where that is.
        cursors: signs and reads where lists go on.
        marks: what readers marked.
        engine: where articles are, and what is on sale.
        shop: where orders are, and who takes the money for them.
        windows: count what is asked for.
        quotas: how much may be asked for.
        clock: now, in ms since the epoch.
        deadline_ms: the budget of one request.
        origins: whose pages may read answers and write.
        is_ready: whether requests may be sent here.
    """
    routes: dict[str, object] = {
        "/articles": FeedResource(recommending, channels),
        "/articles/{article_id}": ArticleResource(articles),
        "/articles/{article_id}/similar": SimilarResource(articles, recommending),
        "/channels": ChannelsResource(channels),
        **mark_routes(
            engine=engine,
            behaviours=behaviours,
            marks=marks,
            articles=articles,
            channels=channels,
            cursors=cursors,
            tracker=tracker,
            clock=clock,
        ),
        "/reader": ReaderResource(),
        "/reader/chat-ticket": ChatTicketResource(tickets, chat),
        "/behaviors": BehaviorsResource(behaviours, max_body_bytes=max_body_bytes),
        "/products": ProductsResource(engine),
        "/orders": OrdersResource(shop, max_body_bytes=max_body_bytes),
        "/orders/{order_id}": OrderResource(shop),
        "/orders/{order_id}/payment": PaymentResource(shop),
        "/payments/callback": CallbackResource(shop, max_body_bytes=max_body_bytes, clock=clock),
        **money_routes(engine, cursors),
        "/health/live": HealthResource("Is this process alive?", lambda: True),
        "/health/ready": HealthResource("May this process be sent requests?", is_ready),
    }
    app: App = falcon.App()
    app.add_middleware(RequestScope(deadline_ms, PROCESS))
    app.add_middleware(AnswerForServer())
    app.add_middleware(AnswerCaching(varies_by_origin=bool(origins.allowed)))
    if origins.allowed:
        app.add_middleware(
            falcon.CORSMiddleware(
                allow_origins=origins.allowed,
                allow_credentials=origins.allowed,
                expose_headers=EXPOSED,
            )
        )
    app.add_middleware(RefuseForeignWrites(origins, signer))
    limits = Limits(windows, quotas)
    app.add_middleware(TellCaller(signer, keys, limits.may_mint, limits.count_refused_key))
    app.add_middleware(limits)
    app.req_options.strip_url_path_trailing_slash = True
    app.add_error_handler(Exception, answer_problem)
    app.add_error_handler(falcon.HTTPError, answer_problem)
    for path, resource in (routes | _page_routes(routes, chat)).items():
        app.add_route(path, with_head(resource))
    return app


def _page_routes(routes: Mapping[str, object], chat: ChatAddress) -> dict[str, object]:
    pages = dict(read_pages())
    description = describe(routes, ABOUT, version("tidings"))
    docs = render_docs(pages.pop("docs.html").decode(), description, DESCRIPTION)
    return {
        "/": FrontPageResource(pages.pop("index.html"), chat),
        "/docs": PageResource("docs.html", docs),
        DESCRIPTION: OpenApiResource(description),
        **{f"/static/{name}": PageResource(name, content) for name, content in pages.items()},
    }
