"""Readers and operators are told of money in the transaction that moves it, once each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import update

from jobs.delayed.batches import Batches
from jobs.errands import PATIENT
from jobs.handlers import make_handlers
from tests.integration.shop.conftest import MakeBatches
from tests.lab.buyers import Shopfront, Till, tell
from tests.lab.handlers import UNCACHED
from tests.lab.shelf import Shop
from tests.unit.gateway.doors import READER_ID
from tidings.shop import refunds
from tidings.shop.refunds import REFUND
from tidings.store.delayed_due import record_failure
from tidings.store.delayed_tables import delayed_job
from tidings.store.engine import database_now, transaction
from tidings.talk.notices import OPERATORS, find_notices


def told(shop: Shop, audience: int = READER_ID) -> list[tuple[str, Mapping[str, Any]]]:
    """Type and data of an audience's notices, the oldest first."""
    with shop.engine.connect() as conn:
        found = find_notices(conn, audience, audience=audience, limit=100)
    return [(listed.notice.type, listed.notice.data) for listed in reversed(found)]


@pytest.fixture
def daemon(shop: Shop, till: Till, make_batches: MakeBatches) -> Batches:
    def send(payment_id: int) -> None:
        refunds.carry_out(shop.engine, {"till": till}.__getitem__, payment_id)

    return make_batches(make_handlers(UNCACHED, send))


@pytest.fixture
def owed(front: Shopfront, till: Till) -> tuple[int, int]:
    """Money came for an order that was cancelled: the numbers of the order and of the payment."""
    order = front.order((1, 2))
    front.pay(order)
    front.send("DELETE", f"/orders/{order.json['order_id']}")
    assert front.call_back(tell(till.charges[-1])).json == {"settlement": "refunded"}
    return order.json["order_id"], till.charges[-1].payment_id


def test_a_paid_order_is_told_once_however_often_the_provider_calls(
    front: Shopfront, shop: Shop, till: Till
) -> None:
    order = front.order((1, 2))
    front.pay(order)
    for type_ in ("payment.pending", "payment.succeeded", "payment.succeeded", "payment.failed"):
        front.call_back(tell(till.charges[-1], type_))

    data = {"order_id": order.json["order_id"], "amount_cents": 200, "currency": "EUR"}
    assert told(shop) == [("order_paid", data)]


def test_money_that_goes_back_is_told_once_though_it_is_sent_twice(
    shop: Shop, owed: tuple[int, int], daemon: Batches, till: Till
) -> None:
    """A daemon that dies between sending and its commit sends again."""
    order_id, payment_id = owed
    with shop.engine.connect() as conn:
        refund = refunds.find_unsent(conn, payment_id)
    refunds.send(shop.engine, till, refund)
    refunds.send(shop.engine, till, refund)
    daemon.drain(REFUND)

    cancelled, *sent = told(shop)
    assert cancelled == ("order_cancelled", {"order_id": order_id, "why": "by_reader"})
    assert sent == [("refund_sent", {"order_id": order_id, "amount_cents": 200, "currency": "EUR"})]


def test_money_that_cannot_be_sent_back_is_told_to_operators(
    shop: Shop, owed: tuple[int, int], daemon: Batches, till: Till
) -> None:
    order_id, payment_id = owed
    (job,) = [job for job in shop.jobs() if job.kind == REFUND]
    with transaction(shop.engine) as conn:
        for _ in range(PATIENT.attempts - 1):
            record_failure(conn, job.id, RuntimeError("down"), PATIENT)
    till.is_down = True
    _make_due(shop)
    daemon.drain(REFUND)

    money = {"order_id": order_id, "amount_cents": 200, "currency": "EUR"}
    assert told(shop, OPERATORS) == [
        ("refund_dead", {**money, "payment_id": payment_id}),
        ("job_dead", {"kind": REFUND, "ref": str(payment_id)}),
    ]
    assert [type_ for type_, _ in told(shop)] == ["order_cancelled"]


def test_a_callback_that_does_not_fit_is_told_to_operators_and_to_no_reader(
    front: Shopfront, shop: Shop, till: Till
) -> None:
    front.pay(front.order((1, 2)))
    for event_id in ("odd", "odd", "odder"):
        front.call_back(tell(till.charges[-1], event_id=event_id, amount_cents=1))

    with shop.engine.connect() as conn:
        (listed,) = find_notices(conn, READER_ID, audience=OPERATORS)
    assert listed.notice.times == 2, "one that is told again is no other"
    data = {"provider": "till", "verdict": "mismatch", "event_id": "odder"}
    assert told(shop, OPERATORS) == [("payment_mismatched", data)]
    assert told(shop) == []


def _make_due(shop: Shop) -> None:
    with transaction(shop.engine) as conn:
        is_it = delayed_job.c.kind == REFUND
        conn.execute(update(delayed_job).where(is_it).values(run_at=database_now(conn)))
