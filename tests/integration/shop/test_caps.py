"""Nobody holds much for nothing: caps on what is not paid, for a reader and for an address."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import select

from jobs.static.runs import read_now
from tests.integration.shop.conftest import OpenShopfront
from tests.lab.buyers import Shopfront, Till, at_once, tell
from tests.lab.shelf import STOCK, Shop
from tests.lab.shop import NO_CAPS
from tidings.shop import orders, stock
from tidings.shop.caps import Caps, TooMuchHeldError
from tidings.shop.tables import orders as order_table
from tidings.store.engine import transaction

USUAL = Caps(unpaid=3, unpaid_per_address=10, pieces=20, cents=3000)
HOME, WORK = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def capped(open_shopfront: OpenShopfront) -> Shopfront:
    return open_shopfront(caps=USUAL)


def test_a_fourth_unpaid_order_is_refused_until_one_is_paid_or_cancelled(
    capped: Shopfront, till: Till
) -> None:
    first, second, _ = (capped.order((1, 1)) for _ in range(3))

    refused = capped.order((1, 1))
    assert (refused.status_code, refused.json["type"]) == (409, "/docs#too-much-held")
    assert "at most 3 unpaid orders" in refused.json["detail"]

    capped.send("DELETE", f"/orders/{first.json['order_id']}")
    assert capped.order((1, 1)).status_code == 201
    assert capped.order((1, 1)).status_code == 409
    capped.pay(second)
    capped.call_back(tell(till.charges[-1]))
    assert capped.order((1, 1)).status_code == 201
    assert capped.order((1, 1)).status_code == 409


def test_pieces_and_value_are_counted_over_all_unpaid_orders(capped: Shopfront) -> None:
    assert capped.order((1, 15)).status_code == 201
    assert "20 pieces" in capped.order((1, 6)).json["detail"]
    assert "3000 hundredths of EUR" in capped.order((5, 4)).json["detail"]
    assert capped.order((5, 3)).status_code == 201
    assert capped.order((1, 1), reader_id=2**52 + 99).status_code == 201, "another reader's own"


def test_one_anonymous_reader_cannot_hold_more_than_the_cap_whatever_is_tried(
    capped: Shopfront, shop: Shop
) -> None:
    for pieces in (100, 50, 20, 10, 5, 5, 2, 1, 1, 1):
        for product in range(1, 6):
            capped.order((product, pieces))

    held = {id_: STOCK - left for id_, left in shop.quantities().items()}
    assert 0 < sum(held.values()) <= USUAL.pieces
    assert sum(100 * id_ * n for id_, n in held.items()) <= USUAL.cents


def test_one_address_holds_ten_orders_of_however_many_readers(
    capped: Shopfront, shop: Shop
) -> None:
    def order(n: int, address: str) -> int:
        return capped.order((1, 1), reader_id=2**52 + n, remote_addr=address).status_code

    assert [order(n, HOME) for n in range(12)] == [201] * 10 + [409] * 2
    assert order(12, WORK) == 201
    networks = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"]
    for n, address in enumerate(networks * 6):
        order(100 + n, address)
    with shop.engine.connect() as conn:
        found = list(conn.scalars(select(order_table.c.address)))
    assert {address: found.count(address) for address in found} == {
        HOME: 10,
        WORK: 1,
        "2001:db8:1:2::/64": 10,
        "2001:db8:1:3::/64": 6,
    }


def test_the_caps_hold_though_all_orders_come_at_once_to_two_gateways(
    open_shopfront: OpenShopfront, shop: Shop
) -> None:
    fronts = [open_shopfront(caps=USUAL), open_shopfront(caps=USUAL)]

    of_one_reader = at_once([partial(fronts[n % 2].order, (1, 1)) for n in range(16)])
    of_one_address = at_once(
        [
            partial(fronts[n % 2].order, (2, 1), reader_id=2**52 + 50 + n, remote_addr=HOME)
            for n in range(24)
        ]
    )

    assert sorted(answer.status_code for answer in of_one_reader) == [201] * 3 + [409] * 13
    assert sorted(answer.status_code for answer in of_one_address) == [201] * 10 + [409] * 14
    assert shop.ledger() == shop.quantities()


def test_pieces_are_capped_though_all_orders_come_at_once(
    open_shopfront: OpenShopfront, shop: Shop
) -> None:
    caps = Caps(unpaid=0, unpaid_per_address=0, pieces=20, cents=0)
    fronts = [open_shopfront(caps=caps), open_shopfront(caps=caps)]

    at_once([partial(fronts[n % 2].order, (1 + n % 5, 6)) for n in range(16)])

    assert sum(shop.quantities().values()) == 5 * STOCK - 18


def test_a_cap_of_0_is_none(shop: Shop) -> None:
    for _ in range(12):
        shop.order((5, 8), address=HOME, caps=NO_CAPS)

    assert shop.quantities()[5] == STOCK - 96


def test_each_currency_has_its_own_value(shop: Shop) -> None:
    caps = Caps(unpaid=0, unpaid_per_address=0, pieces=0, cents=500)
    with transaction(shop.engine) as conn:
        stock.withdraw(conn, 4)
        dollars = stock.add_product(conn, "Abroad", 400, "USD")
        stock.receive(conn, dollars, 9, delivery=99)
    shop.order((5, 1), caps=caps)

    shop.order((dollars, 1), caps=caps)

    with pytest.raises(TooMuchHeldError, match="500 hundredths of USD"):
        shop.order((dollars, 1), caps=caps)


@pytest.mark.parametrize("end", ["pay", "cancel", "expire"])
def test_the_address_is_forgotten_when_the_order_ends(shop: Shop, end: str) -> None:
    order = shop.order((1, 1), address=HOME, timeout_s=0)
    with transaction(shop.engine) as conn:
        if end == "expire":
            orders.expire(conn, [order.order_id], read_now(conn))
        else:
            orders.advance(conn, order.order_id, orders.Event(end))

    with shop.engine.connect() as conn:
        assert conn.scalars(select(order_table.c.address)).all() == [None]


def test_a_first_visit_holds_for_minutes_and_a_reader_who_is_back_for_longer(
    front: Shopfront,
) -> None:
    body = {"lines": [{"product_id": 1, "quantity": 1}]}

    def order(key: str, **headers: str) -> tuple[int, str]:
        answer = front.door.client.simulate_post(
            "/orders", json=body, headers={"Idempotency-Key": key, **headers}
        )
        assert answer.status_code == 201, answer.text
        held_ms = answer.json["expires_at"] - answer.json["created_at"]
        return held_ms, answer.headers.get("X-Reader", "")

    first_ms, mine = order("first")
    second_ms, _ = order("second", **{"X-Reader": mine})

    assert (first_ms, second_ms) == (300_000, 1_800_000)
