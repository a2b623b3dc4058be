"""Orders on SQLite and MariaDB: stock is never oversold, never lost, and given back once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, update

from jobs.static.runs import read_now
from tests.lab.shop import ANYBODY
from tidings.shop import orders, stock
from tidings.shop.orders import Event, Line
from tidings.shop.tables import orders as order_table
from tidings.shop.tables import sku
from tidings.store.engine import transaction

STOCK = 100


def expire_all(shop: Any) -> dict[int, Any]:
    with transaction(shop.engine) as conn:
        ids = [int(job.ref) for job in shop.jobs()]
        return orders.expire(conn, ids, read_now(conn))


def test_an_order_takes_stock_and_promises_its_expiry(shop: Any) -> None:
    order = shop.order((1, 2), (3, 1))
    assert order == shop.read(order.order_id)
    assert order.status == "unpaid"
    assert order.total_cents == 2 * 100 + 300
    assert shop.quantities() == {1: STOCK - 2, 2: STOCK, 3: STOCK - 1, 4: STOCK, 5: STOCK}
    assert shop.moves(order.order_id, "hold") == [(1, -2), (3, -1)]
    (job,) = shop.jobs()
    assert (job.kind, job.ref, job.state) == ("order_timeout", str(order.order_id), "waiting")
    assert job.run_at == order.expires_at - timedelta(minutes=5), "first it warns"


def test_the_same_key_gives_the_same_order_and_takes_stock_once(shop: Any) -> None:
    first = shop.order((1, 2), (2, 1), key="abc")
    again = shop.order((2, 1), (1, 2), key="abc")
    assert first == again
    assert shop.quantities()[1] == STOCK - 2


def test_the_same_key_for_something_else_is_refused(shop: Any) -> None:
    shop.order((1, 2), key="abc")
    with pytest.raises(orders.IdempotencyConflictError):
        shop.order((1, 3), key="abc")
    assert shop.quantities()[1] == STOCK - 2


def test_keys_are_each_readers_own_and_their_letters_count(shop: Any) -> None:
    """MySQL's usual collation would take `abc` and `ABC` for the same key."""
    ids = {
        shop.order((1, 1), key=key, reader_id=reader).order_id
        for key in ("abc", "ABC")
        for reader in (1, 2)
    }
    assert len(ids) == 4


def test_twenty_requests_with_one_key_at_once_make_one_order(shop: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: shop.order((1, 1), key="same").order_id, range(20)))
    assert len(set(found)) == 1
    assert shop.quantities()[1] == STOCK - 1


@pytest.mark.parametrize(
    "lines",
    [[], [(1, 0)], [(1, -1)], [(1, 101)], [(1, 60), (1, 60)], [(n, 1) for n in range(1, 30)]],
)
def test_what_makes_no_order_is_refused_before_anything_is_taken(
    shop: Any, lines: list[tuple[int, int]]
) -> None:
    with pytest.raises(orders.OrderRefusedError):
        orders.place(
            shop.engine, 7, [Line(*line) for line in lines], key="k", timeout_s=1, **ANYBODY
        )
    assert shop.ledger() == shop.quantities()


def test_unknown_and_withdrawn_products_are_named(shop: Any) -> None:
    with pytest.raises(stock.ProductNotFoundError, match="99"):
        shop.order((1, 1), (99, 1))
    with transaction(shop.engine) as conn:
        conn.execute(update(sku).where(sku.c.id == 2).values(state="withdrawn"))
    with pytest.raises(stock.ProductNotFoundError, match="2"):
        shop.order((2, 1))
    with shop.engine.connect() as conn:
        assert [product.product_id for product in stock.find_products(conn)] == [1, 3, 4, 5]
    assert shop.quantities()[1] == STOCK


def test_an_order_has_one_currency(shop: Any) -> None:
    with transaction(shop.engine) as conn:
        conn.execute(update(sku).where(sku.c.id == 2).values(currency="USD"))
    with pytest.raises(orders.OrderRefusedError, match="EUR and USD"):
        shop.order((1, 1), (2, 1))


def test_the_last_pieces_go_to_one_reader_and_nothing_is_half_taken(shop: Any) -> None:
    shop.order((2, STOCK))
    with pytest.raises(stock.OutOfStockError, match="2"):
        shop.order((1, 1), (2, 1))
    assert shop.quantities()[1] == STOCK


def test_a_hundred_pieces_are_sold_once_to_a_crowd(shop: Any) -> None:
    def buy(n: int) -> bool:
        try:
            shop.order((1, 3), reader_id=n)
        except stock.OutOfStockError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        sold = sum(pool.map(buy, range(50)))
    assert sold == 33
    assert shop.quantities()[1] == 1
    assert shop.ledger() == shop.quantities()


def test_another_readers_order_does_not_exist(shop: Any) -> None:
    order = shop.order(reader_id=1)
    with pytest.raises(orders.OrderNotFoundError):
        shop.read(order.order_id, reader_id=2)
    with pytest.raises(orders.OrderNotFoundError):
        orders.cancel(shop.engine, 2, order.order_id)


def test_cancelling_gives_the_stock_back_once(shop: Any) -> None:
    order = shop.order((1, 2))
    cancelled = orders.cancel(shop.engine, 7, order.order_id)
    assert (cancelled.status, cancelled.cancelled_for) == ("cancelled", "by_reader")
    assert orders.cancel(shop.engine, 7, order.order_id) == cancelled
    assert shop.quantities()[1] == STOCK
    assert shop.moves(order.order_id, "release") == [(1, 2)]


def test_a_paid_order_cannot_be_cancelled_nor_expire(shop: Any) -> None:
    order = shop.order(timeout_s=0)
    with transaction(shop.engine) as conn:
        assert orders.advance(conn, order.order_id, Event.PAY)
        assert not orders.advance(conn, order.order_id, Event.PAY)
    with pytest.raises(orders.OrderNotPayableError):
        orders.cancel(shop.engine, 7, order.order_id)
    assert expire_all(shop) == {}
    assert shop.read(order.order_id).status == "paid"
    assert shop.quantities()[1] == STOCK - 1


def test_expiry_cancels_what_is_due_and_names_what_is_not(shop: Any) -> None:
    due = shop.order((1, 2), (2, 3), timeout_s=0)
    early = shop.order((1, 1), timeout_s=60)
    assert expire_all(shop) == {early.order_id: early.expires_at}
    assert shop.read(due.order_id).cancelled_for == "expired"
    assert shop.read(early.order_id).status == "unpaid"
    assert shop.moves(due.order_id, "release") == [(1, 2), (2, 3)]
    assert shop.quantities() == {1: STOCK - 1, 2: STOCK, 3: STOCK, 4: STOCK, 5: STOCK}
    assert expire_all(shop) == {early.order_id: early.expires_at}, "twice changes nothing"
    assert shop.quantities()[1] == STOCK - 1


def test_a_delivery_is_booked_once(shop: Any) -> None:
    with transaction(shop.engine) as conn:
        assert stock.receive(conn, 1, 10, delivery=77)
        assert not stock.receive(conn, 1, 10, delivery=77)
        with pytest.raises(stock.ProductNotFoundError):
            stock.receive(conn, 99, 10, delivery=78)
    assert shop.quantities()[1] == STOCK + 10
    assert shop.ledger() == shop.quantities()


def test_paying_cancelling_and_expiring_at_once_has_one_winner(shop: Any) -> None:
    for _ in range(20):
        order = shop.order((1, 1), timeout_s=0)
        start = threading.Barrier(3)

        def pay(order: Any = order, start: Any = start) -> bool:
            start.wait()
            with transaction(shop.engine) as conn:
                return orders.advance(conn, order.order_id, Event.PAY)

        def cancel(order: Any = order, start: Any = start) -> bool:
            start.wait()
            try:
                return orders.cancel(shop.engine, 7, order.order_id).cancelled_for == "by_reader"
            except orders.OrderNotPayableError:
                return False

        def expire(order: Any = order, start: Any = start) -> bool:
            start.wait()
            with transaction(shop.engine) as conn:
                orders.expire(conn, [order.order_id], read_now(conn))
            return bool(shop.read(order.order_id).cancelled_for == "expired")

        with ThreadPoolExecutor(3) as pool:
            won = [
                future.result() for future in [pool.submit(work) for work in (pay, cancel, expire)]
            ]
        assert sum(won) == 1, won
        assert len(shop.moves(order.order_id, "release")) == (0 if won[0] else 1)
        assert shop.ledger() == shop.quantities()


steps = st.lists(
    st.tuples(
        st.sampled_from(["order", "order", "pay", "cancel", "expire", "delivery"]),
        st.integers(0, 9),
    ),
    max_size=25,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps)
def test_whatever_happens_quantity_plus_holds_is_received_minus_sold(
    shop: Any, steps: list[tuple[str, int]]
) -> None:
    placed: list[orders.Order] = []
    for what, n in steps:
        if what == "order":
            try:
                placed.append(
                    shop.order((n % 5 + 1, n + 1), (n % 3 + 1, 1), timeout_s=0 if n % 2 else 60)
                )
            except stock.OutOfStockError:
                continue
        elif what == "delivery":
            with transaction(shop.engine) as conn:
                stock.receive(conn, n % 5 + 1, n + 1, delivery=1000 + n)
        elif what == "expire":
            expire_all(shop)
        elif placed:
            with transaction(shop.engine) as conn:
                event = Event.PAY if what == "pay" else Event.CANCEL
                order_id = placed[n % len(placed)].order_id
                orders.advance(conn, order_id, event)
        assert shop.ledger() == shop.quantities()
        with shop.engine.connect() as conn:
            assert stock.find_imbalances(conn) == []


def test_an_imbalance_is_found_and_named(shop: Any, engine: Engine) -> None:
    shop.order((2, 1))
    with transaction(engine) as conn:
        conn.execute(update(sku).where(sku.c.id == 2).values(quantity=sku.c.quantity - 1))
        conn.execute(update(order_table).values(status="cancelled"))
    with engine.connect() as conn:
        (wrong,) = stock.find_imbalances(conn)
    assert wrong.sku_id == 2
    assert (wrong.quantity, wrong.ledger, wrong.held, wrong.sold) == (STOCK - 2, STOCK - 1, 0, 0)
