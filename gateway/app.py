"""The gateway's composition root: routes, middleware and the one error table become a Falcon app.

Falcon rather than a larger framework: what a request costs here is what its resource does.
Collaborators come in as arguments, so a test builds the same app that production runs. Every route
stands here: a path that is not in this table is not served.

    app = create_app(articles=articles, shop=make_shop(settings, provider), ...)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.metadata import version

from sqlalchemy import Engine

from gateway.feed.ladder import Recommending
from gateway.resources.articles import SimilarResource
from gateway.resources.behaviors import BehaviorsResource
from gateway.resources.chat import ChatAddress, ChatTicketResource
from gateway.resources.editing.articles import (
    ArticleDeskResource,
    ArticlesResource,
    FeedDeskResource,
    OperatorArticleResource,
    PreviewResource,
)
from gateway.resources.editing.audit import AuditResource
from gateway.resources.editing.channels import (
    ChannelDeskResource,
    ChannelsDeskResource,
    MergeResource,
    OperatorChannelResource,
    OperatorChannelsResource,
)
from gateway.resources.editing.desk import Desk
from gateway.resources.editing.images import ImagesResource
from gateway.resources.editing.source_check import Check, CheckResource
from gateway.resources.editing.sources import source_routes
from gateway.resources.editing.verbs import verb_routes
from gateway.resources.front_page import FrontPageResource
from gateway.resources.images import ImageResource
from gateway.resources.marks import mark_routes
from gateway.resources.money import money_routes
from gateway.resources.orders import OrderResource, OrdersResource, ProductsResource
from gateway.resources.payments import CallbackResource, PaymentResource
from gateway.resources.reader import ReaderResource
from gateway.resources.shop import Shop
from gateway.resources.site import PreferPages, Site, site_routes
from tidings.http.cursors import Cursors
from tidings.http.docs import DocsResource, OpenApiResource
from tidings.http.door import App, add_routes, make_door
from tidings.http.health import HealthResource
from tidings.http.limits import Quotas
from tidings.http.openapi import describe
from tidings.http.origins import Origins
from tidings.http.pages import PageResource, read_pages
from tidings.http.reader_id import ReaderSigner
from tidings.news.articles import Articles
from tidings.news.channels import Channels
from tidings.news.images import Images
from tidings.process.clock import Clock
from tidings.readers.checking import KeyCheck
from tidings.readers.tickets import Tickets
from tidings.reading.behaviour import Behaviours
from tidings.reading.marks import Marks
from tidings.reading.tracking import Tracker
from tidings.store.windows import SlidingWindows

ABOUT = "Tidings: personalised feeds of articles."
DESCRIPTION = "/openapi.json"


def create_app(
    *,
    articles: Articles,
    channels: Channels,
    images: Images,
    images_max_bytes: int,
    check_source: Check,
    site: Site,
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
        images: the pictures that are kept here.
        images_max_bytes: of all of them together.
        check_source: looks at an address.
        site: the pages for people.
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
    desk = Desk(engine, articles, cursors, max_body_bytes=max_body_bytes)
    routes: dict[str, object] = {
        "/articles": FeedDeskResource(recommending, channels, desk),
        "/articles/preview": PreviewResource(desk),
        "/articles/{article_id}": ArticleDeskResource(articles, desk),
        "/articles/{article_id}/similar": SimilarResource(articles, recommending),
        "/images": ImagesResource(desk, images, max_bytes=images_max_bytes),
        "/images/{digest}": ImageResource(images),
        **verb_routes(desk, clock),
        "/channels": ChannelsDeskResource(channels, desk),
        "/channels/{channel_id}": ChannelDeskResource(channels, desk),
        "/channels/{channel_id}/merge": MergeResource(desk),
        **source_routes(desk),
        "/sources/check": CheckResource(desk, check_source),
        **site_routes(site, articles, channels),
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
        "/operator/articles": ArticlesResource(desk),
        "/operator/articles/{article_id}": OperatorArticleResource(desk),
        "/operator/channels": OperatorChannelsResource(desk),
        "/operator/channels/{channel_id}": OperatorChannelResource(desk),
        "/operator/audit": AuditResource(desk),
        **money_routes(engine, cursors),
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
    app.add_middleware(PreferPages())
    add_routes(app, routes | _page_routes(routes, chat, site))
    return app


def _page_routes(routes: Mapping[str, object], chat: ChatAddress, site: Site) -> dict[str, object]:
    pages = dict(read_pages())
    describing = cache(partial(describe, routes, ABOUT, version("tidings")))
    docs = DocsResource(pages.pop("docs.html").decode(), describing, DESCRIPTION)
    return {
        "/": FrontPageResource(pages.pop("index.html").decode(), chat, site.masthead),
        "/docs": docs,
        DESCRIPTION: OpenApiResource(describing),
        **{f"/static/{name}": PageResource(name, content) for name, content in pages.items()},
    }
