"""`/orders/{id}/payment` and `/payments/callback`: the reader starts a payment, the provider ends
it.

The callback is the only door that trusts nobody's cookie: it reads the raw body, checks the
signature over these bytes, and only then decodes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

import falcon
import msgspec
from sqlalchemy import Engine

from gateway.http.bodies import answer_json, decode
from gateway.http.openapi import Operation
from gateway.http.parameters import read_parameters
from gateway.http.problems import BodyTooLargeError
from gateway.resources.orders import (
    READER,
    OrderResource,
    OrdersResource,
    ProductsResource,
    read_order_id,
)
from tidings.shop import payments
from tidings.shop.payments import SIGNATURE_HEADER, Callback, PaymentStarted, Provider


class CallbackTaken(msgspec.Struct, frozen=True):
    """What became of the payment: `paid`, `refunded`, `failed`, or `noted` when nothing had to
    change."""

    settlement: str


class PaymentResource:
    """`POST /orders/{order_id}/payment`."""

    needs_reader = True
    operations = {
        "post": Operation(
            "Start paying; the provider tells the outcome later",
            answers=PaymentStarted,
            status=HTTPStatus.ACCEPTED,
            path_parameters={"order_id": "from POST /orders"},
            headers=READER,
            problems=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.BAD_GATEWAY),
        )
    }

    def __init__(self, engine: Engine, provider: Provider) -> None:
        self._engine = engine
        self._provider = provider

    def on_post(self, req: falcon.Request, resp: falcon.Response, order_id: str) -> None:
        read_parameters(req)
        started = payments.start(
            self._engine, self._provider, req.context.reader_id, read_order_id(order_id)
        )
        answer_json(resp, started, HTTPStatus.ACCEPTED)


class CallbackResource:
    """`POST /payments/callback`."""

    operations = {
        "post": Operation(
            "The payment provider's signed word; may be repeated",
            body=Callback,
            answers=CallbackTaken,
            headers={SIGNATURE_HEADER: "t=SECONDS,v1=HMAC-SHA256 in hex of `SECONDS.BODY`"},
            problems=(
                HTTPStatus.BAD_REQUEST,
                HTTPStatus.FORBIDDEN,
                HTTPStatus.NOT_FOUND,
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                HTTPStatus.UNPROCESSABLE_ENTITY,
            ),
        )
    }

    def __init__(
        self,
        engine: Engine,
        keys: Sequence[bytes],
        *,
        max_body_bytes: int,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._keys = keys
        self._max_body_bytes = max_body_bytes
        self._now_s = now_s
        self._decoder = msgspec.json.Decoder(Callback)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        body = req.stream.read(self._max_body_bytes + 1)
        if len(body) > self._max_body_bytes:
            raise BodyTooLargeError(f"at most {self._max_body_bytes} bytes are taken")
        payments.verify(self._keys, body, req.get_header(SIGNATURE_HEADER) or "", self._now_s())
        settlement = payments.settle(self._engine, decode(body, self._decoder))
        answer_json(resp, CallbackTaken(settlement))


def order_routes(
    engine: Engine,
    provider: Provider,
    payment_keys: Sequence[bytes],
    *,
    timeout_s: float,
    max_body_bytes: int,
) -> Mapping[str, object]:
    """path → resource, for `create_app(more_routes=…)`."""
    return {
        "/products": ProductsResource(engine),
        "/orders": OrdersResource(engine, timeout_s=timeout_s, max_body_bytes=max_body_bytes),
        "/orders/{order_id}": OrderResource(engine),
        "/orders/{order_id}/payment": PaymentResource(engine, provider),
        "/payments/callback": CallbackResource(engine, payment_keys, max_body_bytes=max_body_bytes),
    }
