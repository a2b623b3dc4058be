"""`/orders/{id}/payment` and `/payments/callback`: the reader starts a payment, the provider ends
it.

The callback is the only door that goes by no cookie: it hands the bytes as they came to the
provider, who alone knows how its word is signed and written.

    app.add_route("/orders/{order_id}/payment", PaymentResource(shop))
"""

from __future__ import annotations

from http import HTTPStatus

import falcon
import msgspec

from gateway.resources.orders import read_order_id
from gateway.resources.shop import Shop
from tidings.http.bodies import answer_json
from tidings.http.errors import BodyTooLargeError
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import read_parameters
from tidings.process.clock import Clock
from tidings.shop import payments
from tidings.shop.payments import PaymentStarted


class CallbackTaken(msgspec.Struct, frozen=True):
    """What became of it: `paid`, `refunded`, `failed`, `noted` when nothing had to change, or
    `mismatch` and `unknown_payment` when it is kept for a person. A repeated event is answered as
    the first time."""

    settlement: str


class PaymentResource:
    """`POST /orders/{order_id}/payment`."""

    needs_reader = True
    limit_class = LimitClass.ORDER
    operations = {
        "post": Operation(
            "Start paying; the provider tells the outcome later",
            answers=PaymentStarted,
            status=HTTPStatus.ACCEPTED,
            path_parameters={"order_id": "from POST /orders"},
            problems=(
                HTTPStatus.NOT_FOUND,
                HTTPStatus.CONFLICT,
                HTTPStatus.BAD_GATEWAY,
                HTTPStatus.SERVICE_UNAVAILABLE,
            ),
        )
    }

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def on_post(self, req: falcon.Request, resp: falcon.Response, order_id: str) -> None:
        read_parameters(req)
        with self._shop.buying:
            started = payments.start(
                self._shop.engine,
                self._shop.provider,
                req.context.reader_id,
                order_id=read_order_id(order_id),
            )
        answer_json(resp, started, HTTPStatus.ACCEPTED)


class CallbackResource:
    """`POST /payments/callback`."""

    operations = {
        "post": Operation(
            "The payment provider's word, signed and written in its own way; may be repeated",
            answers=CallbackTaken,
            problems=(
                HTTPStatus.FORBIDDEN,
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                HTTPStatus.UNPROCESSABLE_ENTITY,
                HTTPStatus.SERVICE_UNAVAILABLE,
            ),
        )
    }

    def __init__(self, shop: Shop, *, max_body_bytes: int, clock: Clock) -> None:
        self._shop = shop
        self._max_body_bytes = max_body_bytes
        self._clock = clock

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        body = req.stream.read(self._max_body_bytes + 1)
        if len(body) > self._max_body_bytes:
            raise BodyTooLargeError(f"at most {self._max_body_bytes} bytes are taken")
        with self._shop.settling:
            verdict = payments.take_callback(
                self._shop.engine,
                self._shop.provider,
                {name.lower(): value for name, value in req.headers.items()},
                body=body,
                now_s=self._clock() / 1000,
            )
        answer_json(resp, CallbackTaken(verdict))
