"""One payment of an order waits at a time, by a key of the table, whatever wrote the rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Engine, insert, inspect, select, text, update

from tests.conftest import MakeSettings
from tests.integration.shop.conftest import OpenShopfront
from tests.lab.buyers import Shopfront, Till, at_once, tell
from tests.lab.shelf import Shop
from tidings.shop.tables import payment
from tidings.store import migrate as migrations
from tidings.store.engine import database_now, make_engine, transaction

Insert = Callable[..., None]


def payments(shop: Shop) -> list[tuple[int, str, int | None]]:
    with shop.engine.connect() as conn:
        query = select(payment.c.id, payment.c.state, payment.c.open_for)
        return [(id_, state, open_for) for id_, state, open_for in conn.execute(query)]


@pytest.fixture
def insert_payment(shop: Shop) -> Insert:
    """A payment as a program of the version before writes it."""

    def insert_one(order_id: int, **values: Any) -> None:
        row = {"provider": "till", "state": "started", "amount_cents": 100, "currency": "EUR"}
        with transaction(shop.engine) as conn:
            now = database_now(conn)
            conn.execute(insert(payment).values(order_id=order_id, created_at=now, **row | values))

    return insert_one


def test_starts_at_once_on_two_gateways_take_up_one_payment(
    open_shopfront: OpenShopfront, shop: Shop, till: Till
) -> None:
    fronts = [open_shopfront(), open_shopfront()]
    for _ in range(5):
        order = fronts[0].order((1, 1))

        answers = at_once([partial(fronts[n % 2].pay, order) for n in range(8)])

        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json["payment_id"] for answer in answers}) == 1
    assert len(payments(shop)) == 5
    assert len({charge.payment_id for charge in till.charges}) == 5


def test_the_table_itself_refuses_a_second_open_payment(shop: Shop, insert_payment: Insert) -> None:
    order = shop.order()
    insert_payment(order.order_id, open_for=order.order_id)

    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        insert_payment(order.order_id, open_for=order.order_id)


def test_after_a_failure_another_payment_is_opened(
    front: Shopfront, shop: Shop, till: Till
) -> None:
    order = front.order((1, 1))
    front.pay(order)
    front.call_back(tell(till.charges[-1], "payment.failed"))
    front.pay(order)

    first, second = payments(shop)
    assert first[1:] == ("failed", None)
    assert second[1:] == ("started", order.json["order_id"])
    assert front.call_back(tell(till.charges[-1])).json == {"settlement": "paid"}
    assert [row[2] for row in payments(shop)] == [None, None]


def test_a_payment_that_a_program_of_before_has_opened_is_taken_up(
    front: Shopfront, shop: Shop, insert_payment: Insert
) -> None:
    order = front.order((1, 1))
    insert_payment(order.json["order_id"])

    assert front.pay(order).status_code == 202
    assert len(payments(shop)) == 1


def test_a_payment_that_a_program_of_before_has_ended_bars_no_other(
    front: Shopfront, shop: Shop
) -> None:
    order = front.order((1, 1))
    front.pay(order)
    with transaction(shop.engine) as conn:
        conn.execute(update(payment).values(state="failed"))

    assert front.pay(order).status_code == 202
    assert [row[1] for row in payments(shop)] == ["failed", "started"]


def test_a_payment_with_a_provider_whom_the_site_has_left_bars_no_other(
    front: Shopfront, shop: Shop, insert_payment: Insert
) -> None:
    order = front.order((1, 1))
    insert_payment(order.json["order_id"], provider="before", open_for=order.json["order_id"])

    assert front.pay(order).status_code == 202
    assert [row[2] for row in payments(shop)] == [None, order.json["order_id"]]


def test_an_upgrade_opens_the_first_payment_that_waits_for_each_order(
    empty_database_url: str, make_settings: MakeSettings
) -> None:
    engine: Engine = make_engine(make_settings(database_url=empty_database_url).database)
    with engine.execution_options(writes=True).begin() as conn:
        command.upgrade(migrations._config(conn), "0005")
    moment = "2026-01-01 00:00:00.000"
    with transaction(engine) as conn:
        for order_id in (1, 2):
            conn.execute(
                text(
                    "INSERT INTO orders (id, reader_id, idempotency_key, request_hash, status, "
                    "total_cents, currency, created_at, expires_at) VALUES "
                    f"({order_id}, 7, 'k{order_id}', 'h', 'unpaid', 100, 'EUR', "
                    f"'{moment}', '{moment}')"
                )
            )
        for order_id, state in ((1, "failed"), (1, "started"), (1, "started"), (2, "succeeded")):
            conn.execute(
                text(
                    "INSERT INTO payment (order_id, provider, state, amount_cents, currency, "
                    f"created_at) VALUES ({order_id}, 'till', '{state}', 100, 'EUR', '{moment}')"
                )
            )

    migrations.migrate(engine)

    with engine.connect() as conn:
        opened = conn.scalars(select(payment.c.open_for).order_by(payment.c.id)).all()
        names = {index["name"] for index in inspect(conn).get_indexes("payment")}
    assert opened == [None, 1, None, None]
    assert "uq_payment_open_for" in names
    engine.dispose()
