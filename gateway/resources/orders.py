"""`/products` and `/orders`: paid editions, ordered by a reader, who sees only their own orders.

Caps and stock are the shop's to judge; here is what a request says, and who sends it.

    app.add_route("/orders/{order_id}", OrderResource(shop))
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import falcon
import msgspec
from msgspec import Meta
from sqlalchemy import Engine

from gateway.resources.idempotency import IDEMPOTENCY_KEY, read_idempotency_key
from gateway.resources.shop import Shop
from tidings.http.bodies import answer_json, read_body
from tidings.http.caching import SAME_FOR_ALL
from tidings.http.limits import LimitClass, address_network
from tidings.http.openapi import Operation
from tidings.http.parameters import IntParameter, read_parameters
from tidings.process.clock import milliseconds
from tidings.shop import orders, stock
from tidings.shop.orders import MOST_LINES, MOST_PIECES, Line, Order, OrderNotFoundError
from tidings.shop.stock import Product

MAX_ID = 2**63 - 1
# As the table keeps. A proxy that is believed may name anything as an address.
MOST_ADDRESS_CHARS = 45
PRODUCT_PARAMETERS = (
    IntParameter("after", 0, MAX_ID, 0, "the `next` of the page before; 0 is the first page"),
    IntParameter("limit", 1, 100, 50, "how many products"),
)


class Products(msgspec.Struct, frozen=True):
    """A page of products; `next` is the `after` of the page that follows, null on the last."""

    results: list[Product]
    next: int | None


class LineWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many pieces of one product."""

    product_id: Annotated[int, Meta(ge=1, le=MAX_ID)]
    quantity: Annotated[int, Meta(ge=1, le=MOST_PIECES)]


class OrderWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to order."""

    lines: Annotated[list[LineWanted], Meta(min_length=1, max_length=MOST_LINES)]


class OrderShown(msgspec.Struct, frozen=True):
    """An order. Moments are ms since 1970; it is cancelled at `expires_at` unless it is paid by
    then."""

    order_id: int
    status: str
    cancelled_for: str | None
    total_cents: int
    currency: str
    created_at: int
    expires_at: int
    lines: list[Line]


class ProductsResource:
    """`GET /products`."""

    caching = SAME_FOR_ALL
    operations = {
        "get": Operation("What is on sale", answers=Products, parameters=PRODUCT_PARAMETERS)
    }

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        wanted = read_parameters(req, PRODUCT_PARAMETERS)
        limit = wanted["limit"]
        with self._engine.connect() as conn:
            found = stock.find_products(conn, after_id=wanted["after"], limit=limit + 1)
        page = found[:limit]
        answer_json(resp, Products(page, page[-1].product_id if len(found) > limit else None))


class OrdersResource:
    """`POST /orders`."""

    needs_reader = True
    limit_class = LimitClass.ORDER
    operations = {
        "post": Operation(
            "Order, and hold the stock until the order is paid or expires",
            body=OrderWanted,
            answers=OrderShown,
            status=HTTPStatus.CREATED,
            headers=(IDEMPOTENCY_KEY,),
            links={
                name: {"order_id": "$response.body#/order_id"}
                for name in ("get_order", "delete_order", "post_order_payment")
            },
            problems=(
                HTTPStatus.BAD_REQUEST,
                HTTPStatus.NOT_FOUND,
                HTTPStatus.CONFLICT,
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                HTTPStatus.UNPROCESSABLE_ENTITY,
                HTTPStatus.SERVICE_UNAVAILABLE,
            ),
        )
    }

    def __init__(self, shop: Shop, *, max_body_bytes: int) -> None:
        self._shop = shop
        self._max_body_bytes = max_body_bytes
        self._decoder = msgspec.json.Decoder(OrderWanted)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        key = read_idempotency_key(req)
        wanted = read_body(req, self._decoder, self._max_body_bytes)
        lines = [Line(line.product_id, line.quantity) for line in wanted.lines]
        shop, caller = self._shop, req.context.caller
        # An id that costs nothing holds stock for minutes, until it has come back once.
        timeout_s = shop.first_visit_timeout_s if caller.is_new else shop.timeout_s
        with shop.buying:
            order = orders.place(
                shop.engine,
                caller.reader_id,
                lines,
                key=key,
                timeout_s=timeout_s,
                address=address_network(req.remote_addr)[:MOST_ADDRESS_CHARS] or None,
                caps=shop.caps,
            )
        resp.location = f"/orders/{order.order_id}"
        answer_json(resp, show_order(order), HTTPStatus.CREATED)


class OrderResource:
    """`GET` and `DELETE /orders/{order_id}`."""

    needs_reader = True
    limit_class = {"get": LimitClass.FEED, "delete": LimitClass.ORDER}
    operations = {
        "get": Operation(
            "One of the reader's own orders",
            answers=OrderShown,
            path_parameters={"order_id": "from POST /orders"},
            problems=(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
        ),
        "delete": Operation(
            "Cancel an unpaid order and give its stock back",
            answers=OrderShown,
            path_parameters={"order_id": "from POST /orders"},
            problems=(
                HTTPStatus.NOT_FOUND,
                HTTPStatus.CONFLICT,
                HTTPStatus.SERVICE_UNAVAILABLE,
            ),
        ),
    }

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def on_get(self, req: falcon.Request, resp: falcon.Response, order_id: str) -> None:
        read_parameters(req)
        with self._shop.buying, self._shop.engine.connect() as conn:
            order = orders.read_order(conn, req.context.reader_id, read_order_id(order_id))
        answer_json(resp, show_order(order))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, order_id: str) -> None:
        read_parameters(req)
        with self._shop.buying:
            order = orders.cancel(self._shop.engine, req.context.reader_id, read_order_id(order_id))
        answer_json(resp, show_order(order))


def show_order(order: Order) -> OrderShown:
    """An order as it is sent."""
    return OrderShown(
        order_id=order.order_id,
        status=order.status,
        cancelled_for=order.cancelled_for,
        total_cents=order.total_cents,
        currency=order.currency,
        created_at=milliseconds(order.created_at),
        expires_at=milliseconds(order.expires_at),
        lines=order.lines,
    )


def read_order_id(text: str) -> int:
    """The id of an order from a path.

    Raises:
        OrderNotFoundError: this cannot be the id of an order.
    """
    number = IntParameter("order_id", 1, MAX_ID, 1, "an order's id").read(text)
    if number is None:
        raise OrderNotFoundError(f"there is no order {text[:40]}")
    return number
