"""A gateway and its readers in one process, to be killed at any moment: `python -m
tests.faults.shopkeeper '{…}'`.

Readers order, and pay or cancel when the order is just about to expire. What they were told is
written to a ledger outside the database the moment they were told it: an answer that was never
received promises nothing.
"""

from __future__ import annotations

import heapq
import os
import random
import sys
import threading
import time
from typing import Any

import msgspec
from redis import Redis
from sqlalchemy import Engine, insert
from sqlalchemy.exc import SQLAlchemyError

from tests.lab.shop import ANYBODY
from tidings.process.settings import load_settings
from tidings.shop import orders, payments, stock
from tidings.shop.callbacks import Verdict
from tidings.shop.orders import Line, Order
from tidings.shop.providers import Callback
from tidings.shop.tables import payment
from tidings.store import delayed
from tidings.store.engine import database_now, make_engine, transaction
from tidings.store.redis import make_redis

PAYERS = 3
READER_ID = 1


class Plan(msgspec.Struct):
    """What the test asks for."""

    ledger: str
    seed: str
    timeout_s: float
    products: list[int]
    orders_per_s: float = 80
    placers: int = 3
    # What part of the orders their readers come back to, in order to pay or cancel.
    followed: float = 0.6


class Shopkeeper:
    """Places orders and later does something about them."""

    def __init__(self, plan: Plan, engine: Engine, redis: Redis) -> None:
        self._plan = plan
        self._engine = engine
        self._redis = redis
        self._ledger = os.open(plan.ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._random = random.Random(plan.seed)
        self._later: list[tuple[float, int, Order]] = []
        self._news = threading.Condition()

    def run(self) -> None:
        for work, number in ((self._place, self._plan.placers), (self._follow_up, PAYERS)):
            for n in range(number):
                threading.Thread(
                    target=self._for_ever, args=(work,), name=f"{work.__name__}{n}", daemon=True
                ).start()
        threading.Event().wait()

    def _for_ever(self, work: Any) -> None:
        while True:
            try:
                work()
            except (SQLAlchemyError, stock.OutOfStockError, orders.OrderNotPayableError) as ex:
                if not isinstance(ex, stock.OutOfStockError | orders.OrderNotPayableError):
                    time.sleep(0.1)

    def _place(self) -> None:
        time.sleep(self._random.expovariate(self._plan.orders_per_s / self._plan.placers))
        # Half of all orders want the first product.
        products = self._plan.products
        wanted = {
            self._random.choice((products[0], self._random.choice(products))) for _ in range(2)
        }
        lines = [Line(id_, self._random.randint(1, 3)) for id_ in wanted]
        key = f"{os.getpid()}-{self._random.getrandbits(64)}"
        started_s = time.monotonic()
        order = orders.place(
            self._engine, READER_ID, lines, key=key, timeout_s=self._plan.timeout_s, **ANYBODY
        )
        self._tell("placed", order, took_ms=1000 * (time.monotonic() - started_s))
        delayed.hint(self._redis, after_s=self._plan.timeout_s)
        if self._random.random() < self._plan.followed:
            at_s = time.monotonic() + self._plan.timeout_s + self._random.gauss(-0.05, 0.25)
            with self._news:
                heapq.heappush(self._later, (at_s, order.order_id, order))
                self._news.notify()

    def _follow_up(self) -> None:
        with self._news:
            while not self._later or (wait_s := self._later[0][0] - time.monotonic()) > 0:
                self._news.wait(wait_s if self._later else None)
            _, _, order = heapq.heappop(self._later)
        if self._random.random() < 0.15:
            if orders.cancel(self._engine, READER_ID, order.order_id).cancelled_for == "by_reader":
                self._tell("cancelled", order)
            return
        self._pay(order)

    def _pay(self, order: Order) -> None:
        row = {"order_id": order.order_id, "provider": "test", "state": "started"}
        with transaction(self._engine) as conn:
            inserted = conn.execute(
                insert(payment).values(
                    amount_cents=order.total_cents,
                    currency="EUR",
                    created_at=database_now(conn),
                    **row,
                )
            )
            assert inserted.inserted_primary_key is not None
            payment_id = inserted.inserted_primary_key[0]
        callback = Callback(
            event_id=f"e{payment_id}",
            type="payment.succeeded",
            payment_id=payment_id,
            provider_ref="r",
            amount_cents=order.total_cents,
            currency="EUR",
        )
        for _ in range(self._random.choice((1, 1, 2))):
            settlement = payments.settle(self._engine, callback, provider="test")
            what = "paid" if settlement is Verdict.PAID else "refunded"
            self._tell(what, order, payment_id=payment_id)

    def _tell(self, what: str, order: Order, **more: Any) -> None:
        # One write of one line: whole or not at all, even if this process is killed now.
        os.write(
            self._ledger,
            msgspec.json.encode({"what": what, "order_id": order.order_id, **more}) + b"\n",
        )


def main() -> None:
    """Order until killed."""
    plan = msgspec.json.decode(sys.argv[1], type=Plan)
    settings = load_settings()
    Shopkeeper(plan, make_engine(settings.database), make_redis(settings.redis)).run()


if __name__ == "__main__":
    main()
