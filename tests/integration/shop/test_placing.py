"""Orders that are sent again, or at once: one key has one answer, and nothing is sold twice."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, update

from tests.conftest import MakeSettings
from tests.integration.shop.conftest import OpenShopfront
from tests.lab.buyers import at_once
from tests.lab.shelf import STOCK, Shop
from tests.lab.shop import ANYBODY
from tidings.shop import caps, orders, stock
from tidings.shop.caps import Caps, TooMuchHeldError
from tidings.shop.orders import Line, Order
from tidings.shop.tables import sku
from tidings.store.engine import make_engine, transaction

EQUALS = 8
Refusal = Callable[[], object]


def test_eight_equal_orders_at_once_for_the_last_pieces_are_one_order_on_two_gateways(
    open_shopfront: OpenShopfront, shop: Shop
) -> None:
    fronts = [open_shopfront(), open_shopfront()]
    for _ in range(12):
        key = uuid.uuid4().hex
        retries = [
            partial(fronts[n % 2].order, (3, STOCK), key=key, reader_id=2**52 + 9)
            for n in range(EQUALS)
        ]

        answers = at_once(retries)

        assert [answer.status_code for answer in answers] == [201] * EQUALS
        (order_id,) = {answer.json["order_id"] for answer in answers}
        assert shop.quantities()[3] == 0
        assert shop.moves(order_id, "hold") == [(3, -STOCK)]
        cancelled = fronts[0].send("DELETE", f"/orders/{order_id}", reader_id=2**52 + 9)
        assert cancelled.json["status"] == "cancelled"
        assert shop.quantities()[3] == STOCK


def test_a_retry_waits_for_an_order_that_has_taken_the_last_pieces_and_is_not_committed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_taken, may_commit = threading.Event(), threading.Event()
    take, take_turns = stock.take, caps.take_turns

    def take_and_wait(*arguments: Any) -> None:
        take(*arguments)
        has_taken.set()
        assert may_commit.wait(60)

    def take_turns_late(*arguments: Any) -> None:
        if has_taken.is_set():
            # The retry has begun, and the first order holds what it wants.
            may_commit.set()
        take_turns(*arguments)

    monkeypatch.setattr(stock, "take", take_and_wait)
    monkeypatch.setattr(orders, "take_turns", take_turns_late)

    def retry() -> Order:
        assert has_taken.wait(60)
        may_commit.set() if shop.engine.dialect.name == "sqlite" else None
        return shop.order((1, STOCK), key="same")

    first, second = at_once([lambda: shop.order((1, STOCK), key="same"), retry])

    assert first == second
    assert shop.quantities()[1] == 0


@pytest.fixture(params=["READ COMMITTED", "REPEATABLE READ"])
def isolated(
    request: pytest.FixtureRequest, mariadb_url: str, make_settings: MakeSettings
) -> Iterator[Shop]:
    """On MariaDB; on SQLite an order begins when no other one is at work."""
    engine = make_engine(make_settings(database_url=mariadb_url).database)
    yield Shop(engine.execution_options(isolation_level=request.param))
    engine.dispose()


def sell_out(shop: Shop) -> None:
    """Nothing more to do: the other order took the last pieces."""


def withdraw(shop: Shop) -> None:
    with transaction(shop.engine) as conn:
        stock.withdraw(conn, 1)


def mix_currencies(shop: Shop) -> None:
    with transaction(shop.engine) as conn:
        conn.execute(update(sku).where(sku.c.id == 2).values(currency="USD"))


@pytest.mark.parametrize("then", [sell_out, withdraw, mix_currencies])
def test_a_refusal_looks_the_key_up_again(
    isolated: Shop, monkeypatch: pytest.MonkeyPatch, then: Callable[[Shop], None]
) -> None:
    """A gateway of the version before takes no turn: it places the same order after this one has
    looked its key up and before it reads the stock."""
    placed: list[Order] = []
    find_wanted = stock.find_wanted
    lines = [(1, STOCK), (2, 1)]

    def find_late(*arguments: Any) -> Any:
        if not placed:
            monkeypatch.setattr(stock, "find_wanted", find_wanted)
            with monkeypatch.context() as version_before:
                version_before.setattr(orders, "take_turns", lambda *_: None)
                placed.append(isolated.order(*lines, key="same"))
            then(isolated)
        return find_wanted(*arguments)

    monkeypatch.setattr(stock, "find_wanted", find_late)

    assert isolated.order(*lines, key="same") == placed[0]
    with pytest.raises(
        (stock.OutOfStockError, stock.ProductNotFoundError, orders.OrderRefusedError)
    ):
        isolated.order(*lines, key="another")


def test_a_retry_of_the_last_order_within_the_caps_is_that_order(shop: Shop) -> None:
    tight = Caps(unpaid=1, unpaid_per_address=1, pieces=1, cents=100)
    first = shop.order((1, 1), key="same", address="192.0.2.1", caps=tight)

    assert shop.order((1, 1), key="same", address="192.0.2.1", caps=tight) == first
    with pytest.raises(TooMuchHeldError):
        shop.order((1, 1), key="another", address="192.0.2.1", caps=tight)


def test_what_was_sold_out_stays_refused_under_its_key(shop: Shop) -> None:
    shop.order((1, STOCK), reader_id=1)

    with pytest.raises(stock.OutOfStockError):
        shop.order((1, 1), reader_id=2, key="k")
    with pytest.raises(stock.OutOfStockError):
        shop.order((1, 1), reader_id=2, key="k")


def test_sixty_four_clients_of_two_gateways_never_buy_more_than_there_is(
    open_shopfront: OpenShopfront, shop: Shop
) -> None:
    fronts = [open_shopfront(), open_shopfront()]
    buyers = [
        partial(fronts[n % 2].order, (1, 3), reader_id=2**52 + n, key="mine") for n in range(64)
    ]

    answers = [answer for _ in range(2) for answer in at_once(buyers)]

    statuses = [answer.status_code for answer in answers]
    # The second round is the first one sent again.
    assert statuses[:64] == statuses[64:]
    assert statuses[:64].count(201) == STOCK // 3
    assert set(statuses) == {201, 409}
    assert shop.quantities()[1] == STOCK % 3
    assert shop.ledger() == shop.quantities()
    with shop.engine.connect() as conn:
        assert stock.find_imbalances(conn) == []


def test_an_order_without_an_address_is_an_order(engine: Engine, shop: Shop) -> None:
    """A gateway on a unix socket knows no peer."""
    one = Caps(unpaid=0, unpaid_per_address=1, pieces=0, cents=0)
    for n in range(3):
        orders.place(engine, 7, [Line(1, 1)], key=f"k{n}", timeout_s=60, **ANYBODY | {"caps": one})

    assert shop.quantities()[1] == STOCK - 3
