"""Paying: late, twice, out of order, too late, forged; and the HTTP doors to it."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import falcon
import falcon.testing
import msgspec
import pytest
from sqlalchemy import Engine, select, update

from gateway.resources.orders import OrderResource, OrdersResource, ProductsResource
from gateway.resources.payments import CallbackResource, PaymentResource
from tests.lab.servers import wait_until
from tests.lab.shop import make_open_shop
from tidings.http import problems as errors
from tidings.http.caller import Caller
from tidings.process.clock import now_ms
from tidings.shop import orders, payments, stock
from tidings.shop.callbacks import Verdict
from tidings.shop.providers import (
    Callback,
    CallbackRefusedError,
    Charge,
    ProviderUnavailableError,
    Repayment,
    Site,
    Started,
    make_provider,
)
from tidings.shop.providers.sandbox import (
    Manners,
    SandboxProvider,
    derive_keys,
    sign,
    verify,
)
from tidings.shop.tables import orders as order_table
from tidings.shop.tables import payment, refund
from tidings.store.engine import transaction

_events = itertools.count()
KEYS = derive_keys([b"k" * 32, b"o" * 32])


class Till:
    """A provider that only takes notes, and calls back as the sandbox does."""

    name = "till"

    def __init__(self) -> None:
        self.charges: list[Charge] = []
        self.repayments: list[Repayment] = []
        self._sandbox = SandboxProvider(lambda _: True, keys=KEYS)
        self.is_down = False

    def start(self, charge: Charge) -> Started:
        self.charges.append(charge)
        if self.is_down:
            raise ProviderUnavailableError("down")
        return Started(f"ref-{charge.payment_id}", "https://pay.example/1")

    def read_callback(self, headers: Mapping[str, str], body: bytes, now_s: float) -> Callback:
        return self._sandbox.read_callback(headers, body, now_s)

    def refund(self, repayment: Repayment) -> None:
        if self.is_down:
            raise ProviderUnavailableError("down")
        self.repayments.append(repayment)


def say(charge: Charge, type_: Any = "payment.succeeded", **changes: Any) -> Callback:
    fields = {
        "amount_cents": charge.amount_cents,
        "currency": charge.currency,
        "payment_id": charge.payment_id,
    }
    told = {"event_id": f"e{next(_events)}", "provider_ref": f"ref-{charge.payment_id}"}
    return Callback(**{"type": type_, **told, **fields, **changes})


def settle(engine: Engine, callback: Callback) -> Verdict:
    return payments.settle(engine, callback, provider="till")


def refunds(engine: Engine) -> list[tuple[int, str]]:
    with engine.connect() as conn:
        return [(row.payment_id, row.reason) for row in conn.execute(select(refund))]


@pytest.fixture
def till() -> Till:
    return Till()


@pytest.fixture
def begin(shop: Any, till: Till) -> Callable[..., tuple[Any, Charge]]:
    def begin(**options: Any) -> tuple[Any, Charge]:
        order = shop.order((1, 2), **options)
        payments.start(shop.engine, till, 7, order.order_id)
        return order, till.charges[-1]

    return begin


def test_a_payment_in_time_pays_the_order_once(shop: Any, begin: Any) -> None:
    order, charge = begin()
    assert (charge.amount_cents, charge.currency) == (200, "EUR")
    for _ in range(3):
        assert settle(shop.engine, say(charge)) is Verdict.PAID
    assert shop.read(order.order_id).status == "paid"
    assert refunds(shop.engine) == []


def test_money_for_a_cancelled_order_goes_back_once_and_is_said_so_each_time(
    shop: Any, begin: Any
) -> None:
    order, charge = begin()
    orders.cancel(shop.engine, 7, order.order_id)
    for _ in range(3):
        assert settle(shop.engine, say(charge)) is Verdict.REFUNDED
    assert shop.read(order.order_id).status == "cancelled"
    assert refunds(shop.engine) == [(charge.payment_id, "order was cancelled")]


def test_money_for_an_order_that_expired_goes_back_and_says_so(shop: Any, begin: Any) -> None:
    order, charge = begin()
    with transaction(shop.engine) as conn:
        assert orders.advance(conn, order.order_id, orders.Event.EXPIRE)
    assert settle(shop.engine, say(charge)) is Verdict.REFUNDED
    assert refunds(shop.engine) == [(charge.payment_id, "order had expired")]


def test_paying_twice_gives_the_second_back(shop: Any, begin: Any, till: Till) -> None:
    order, first = begin()
    settle(shop.engine, say(first, "payment.failed"))
    payments.start(shop.engine, till, 7, order.order_id)
    second = till.charges[-1]
    assert second.payment_id != first.payment_id
    assert settle(shop.engine, say(second)) is Verdict.PAID
    assert settle(shop.engine, say(first)) is Verdict.REFUNDED
    assert refunds(shop.engine) == [(first.payment_id, "order was paid")]


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_callbacks_does_not_matter(shop: Any, begin: Any, seed: int) -> None:
    order, charge = begin()
    words = [
        "payment.pending",
        "payment.failed",
        "payment.succeeded",
        "payment.succeeded",
        "payment.failed",
    ]
    random.Random(seed).shuffle(words)
    for word in words:
        settle(shop.engine, say(charge, word))
    assert shop.read(order.order_id).status == "paid"


def test_a_waiting_payment_is_taken_up_again(shop: Any, till: Till) -> None:
    order = shop.order()
    till.is_down = True
    with pytest.raises(ProviderUnavailableError):
        payments.start(shop.engine, till, 7, order.order_id)
    till.is_down = False
    payments.start(shop.engine, till, 7, order.order_id)
    assert till.charges[0] == till.charges[1]
    with shop.engine.connect() as conn:
        assert conn.execute(select(payment.c.provider_ref)).scalars().all() == [
            f"ref-{till.charges[0].payment_id}"
        ]


def test_an_order_past_its_time_is_not_begun_to_be_paid(shop: Any, till: Till) -> None:
    order = shop.order(timeout_s=0)
    with pytest.raises(orders.OrderNotPayableError):
        payments.start(shop.engine, till, 7, order.order_id)
    with pytest.raises(orders.OrderNotFoundError):
        payments.start(shop.engine, till, 8, order.order_id)
    assert till.charges == []


def test_a_signature_is_of_these_bytes_at_this_time() -> None:
    body, now_s = b'{"a":1}', 1_800_000_000
    for key in KEYS:
        verify(KEYS, body, sign(key, body, now_s), now_s + 299)
    good = sign(KEYS[0], body, now_s)
    later = good.replace("t=1800000000", "t=1800000400")
    bad = [
        (body + b" ", good, 0),
        (body, later, 0),
        (body, good, 301),
        (body, good, -301),
        (body, "", 0),
    ]
    bad += [
        (body, text, 0)
        for text in ("t=,v1=", "t=1e9,v1=00", "v1=00", "t=1800000000", "t=²,v1=ä", "x" * 9999)
    ]
    bad.append((body, sign(b"another key", body, now_s), 0))
    for content, header, late_s in bad:
        with pytest.raises(CallbackRefusedError):
            verify(KEYS, content, header, now_s + late_s)


def test_the_sandbox_is_late_twice_and_out_of_order_and_all_comes_right(shop: Any) -> None:
    taken: list[str] = []
    refusals = random.Random(3)
    refused_bodies: set[bytes] = set()

    def deliver(body: bytes) -> bool:
        # Once at most: one that is refused each time is given up in the end.
        if body not in refused_bodies and refusals.random() < 0.2:
            refused_bodies.add(body)
            return False
        callback = msgspec.json.decode(body, type=Callback)
        taken.append(callback.type)
        payments.settle(shop.engine, callback, provider="sandbox")
        return True

    manners = Manners(
        unreachable=0.3,
        late=0.3,
        twice=0.5,
        out_of_order=0.5,
        failed_first=0.5,
        pay_s=0.05,
        late_s=0.3,
    )
    provider = SandboxProvider(deliver, seed=5, manners=manners)
    placed = [shop.order((n % 5 + 1, 1)) for n in range(12)]
    refused = 0
    for order in placed:
        for _ in range(20):
            try:
                payments.start(shop.engine, provider, 7, order.order_id)
                break
            except ProviderUnavailableError:
                refused += 1
    wait_until(
        lambda: all(shop.read(order.order_id).status == "paid" for order in placed),
        15,
        "all to be paid",
    )
    provider.close()
    assert refused
    assert {"payment.failed", "payment.pending"} <= set(taken)
    assert refunds(shop.engine) == []


def test_a_callback_and_a_cancellation_at_once_leave_no_paid_cancelled_order(
    shop: Any, begin: Any
) -> None:
    for _ in range(15):
        order, charge = begin()
        together = threading.Barrier(3)
        found: list[Verdict] = []

        def pay(charge: Any = charge, together: Any = together, found: Any = found) -> None:
            together.wait()
            found.append(settle(shop.engine, say(charge)))

        def cancel(order: Any = order, together: Any = together) -> None:
            together.wait()
            with transaction(shop.engine) as conn:
                orders.advance(conn, order.order_id, orders.Event.CANCEL)

        threads = [threading.Thread(target=work) for work in (pay, pay, cancel)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        status = shop.read(order.order_id).status
        assert set(found) == {Verdict.PAID if status == "paid" else Verdict.REFUNDED}


PROBLEMS = {
    orders.OrderNotFoundError: (HTTPStatus.NOT_FOUND, "unknown-order"),
    orders.OrderRefusedError: (HTTPStatus.UNPROCESSABLE_ENTITY, "order-refused"),
    orders.OrderNotPayableError: (HTTPStatus.CONFLICT, "order-closed"),
    orders.IdempotencyConflictError: (HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-conflict"),
    stock.ProductNotFoundError: (HTTPStatus.NOT_FOUND, "unknown-product"),
    stock.OutOfStockError: (HTTPStatus.CONFLICT, "out-of-stock"),
    CallbackRefusedError: (HTTPStatus.FORBIDDEN, "callback-refused"),
    ProviderUnavailableError: (HTTPStatus.BAD_GATEWAY, "provider-unavailable"),
}


class SetCaller:
    """Stands in for the signed cookie."""

    def process_resource(
        self, req: falcon.Request, _resp: object, resource: object, _params: object
    ) -> None:
        if getattr(resource, "needs_reader", False):
            reader_id = int(req.get_header("X-Test-Reader") or 7)
            req.context.caller, req.context.reader_id = Caller(reader_id), reader_id


@pytest.fixture
def http(shop: Any, till: Till, monkeypatch: pytest.MonkeyPatch) -> falcon.testing.TestClient:
    kinds = {kind: errors.Kind(status, slug, slug) for kind, (status, slug) in PROBLEMS.items()}
    monkeypatch.setattr(errors, "PROBLEMS", {**kinds, **errors.PROBLEMS})
    app: Any = falcon.App()
    app.add_middleware(SetCaller())
    app.add_error_handler(Exception, errors.answer_problem)
    open_shop = make_open_shop(shop.engine, till)
    callbacks_at = CallbackResource(open_shop, max_body_bytes=10_000, clock=now_ms)
    app.add_route("/products", ProductsResource(shop.engine))
    app.add_route("/orders", OrdersResource(open_shop, max_body_bytes=10_000))
    app.add_route("/orders/{order_id}", OrderResource(open_shop))
    app.add_route("/orders/{order_id}/payment", PaymentResource(open_shop))
    app.add_route("/payments/callback", callbacks_at)
    return falcon.testing.TestClient(app)


def order(http: Any, *lines: tuple[int, int], key: str = "k", **headers: str) -> Any:
    body = {"lines": [{"product_id": product, "quantity": n} for product, n in lines]}
    return http.simulate_post("/orders", json=body, headers={"Idempotency-Key": key, **headers})


def call_back(
    http: Any, callback: Callback, *, key: bytes = KEYS[0], at_s: float | None = None
) -> Any:
    body = msgspec.json.encode(callback)
    signature = sign(key, body, int(time.time() if at_s is None else at_s))
    headers = {"Content-Type": "application/json", "Tidings-Signature": signature}
    return http.simulate_post("/payments/callback", body=body, headers=headers)


def test_a_site_without_a_provider_says_that_asking_again_does_not_help(
    http: Any, till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = make_provider("none", Site(callback_url="", secrets=(), site_keys=()))
    monkeypatch.setattr(till, "start", none.start)

    refused = http.simulate_post(f"{order(http, (1, 1)).headers['Location']}/payment")

    assert (refused.status_code, refused.json["type"]) == (409, "/docs#no-payment-provider")
    assert "Retry-After" not in refused.headers
    assert "the order will expire" in refused.json["detail"]


def test_an_order_goes_from_the_shelf_to_paid_over_http(http: Any, till: Till, shop: Any) -> None:
    first = http.simulate_get("/products", params={"limit": "3"}).json
    assert [product["product_id"] for product in first["results"]] == [1, 2, 3]
    rest = http.simulate_get("/products", params={"after": str(first["next"])}).json
    assert ([product["product_id"] for product in rest["results"]], rest["next"]) == ([4, 5], None)

    placed = order(http, (1, 2), (3, 1))
    assert placed.status_code == 201
    assert placed.json["expires_at"] - placed.json["created_at"] == 1_800_000
    path = placed.headers["Location"]
    assert http.simulate_get(path).json == placed.json
    started = http.simulate_post(f"{path}/payment")
    assert started.status_code == 202
    assert started.json["pay_url"]
    assert call_back(http, say(till.charges[-1])).json == {"settlement": "paid"}
    assert http.simulate_get(path).json["status"] == "paid"
    assert http.simulate_delete(path).status_code == 409


def test_the_same_key_over_http(http: Any) -> None:
    first = order(http, (1, 2))
    assert order(http, (1, 2)).json == first.json
    assert order(http, (1, 3)).status_code == 422
    assert order(http, (1, 2), **{"X-Test-Reader": "8"}).json["order_id"] != first.json["order_id"]


def test_nobody_sees_anothers_order(http: Any) -> None:
    path = order(http, (1, 1)).headers["Location"]
    other = {"X-Test-Reader": "8"}
    for method, where in (
        ("GET", path),
        ("DELETE", path),
        ("POST", f"{path}/payment"),
        ("GET", "/orders/x"),
    ):
        assert http.simulate_request(method, where, headers=other).status_code == 404
    assert http.simulate_delete(path).json["cancelled_for"] == "by_reader"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"lines": []}, 422),
        ({"lines": [{"product_id": 1, "quantity": 0}]}, 422),
        ({"lines": [{"product_id": 1, "quantity": 1.5}]}, 422),
        ({"lines": [{"product_id": 1, "quantity": 60}, {"product_id": 1, "quantity": 60}]}, 422),
        ({"lines": [{"product_id": 1, "quantity": 1, "price_cents": 1}]}, 422),
        ({"lines": [{"product_id": 99, "quantity": 1}]}, 404),
        ({}, 422),
    ],
)
def test_bad_orders_are_refused_by_name(http: Any, shop: Any, body: Any, status: int) -> None:
    answer = http.simulate_post("/orders", json=body, headers={"Idempotency-Key": "k"})
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert shop.quantities() == shop.ledger()


def test_an_order_without_a_key_is_refused(http: Any) -> None:
    for key in ("", "ä", "x" * 129):
        answer = http.simulate_post("/orders", json={"lines": []}, headers={"Idempotency-Key": key})
        assert (answer.status_code, answer.json["type"]) == (400, "/docs#idempotency-key-needed")


def test_only_the_provider_may_call_back(http: Any, till: Till, shop: Any) -> None:
    path = order(http, (1, 1)).headers["Location"]
    http.simulate_post(f"{path}/payment")
    callback = say(till.charges[-1])
    assert call_back(http, callback, key=b"a guess").status_code == 403
    assert call_back(http, callback, at_s=time.time() - 3600).status_code == 403
    assert http.simulate_post("/payments/callback", body=b"{}").status_code == 403
    assert http.simulate_get(path).json["status"] == "unpaid"
    huge = b" " * 20_000
    headers = {"Tidings-Signature": sign(KEYS[0], huge, int(time.time()))}
    assert http.simulate_post("/payments/callback", body=huge, headers=headers).status_code == 413


def test_a_provider_that_is_down_is_a_502(http: Any, till: Till, shop: Any) -> None:
    path = order(http, (1, 1)).headers["Location"]
    till.is_down = True
    assert http.simulate_post(f"{path}/payment").status_code == 502
    with transaction(shop.engine) as conn:
        conn.execute(update(order_table).values(expires_at=order_table.c.created_at))
    assert http.simulate_post(f"{path}/payment").status_code == 409
