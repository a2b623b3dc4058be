"""Readers who buy, and a provider who calls back, at the door of a gateway in this process."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

from falcon.testing import Result
from redis import Redis
from sqlalchemy import Engine

from tests.unit.gateway.doors import READER_ID, make_door
from tidings.shop.providers import (
    Callback,
    Charge,
    ProviderUnavailableError,
    Repayment,
    Started,
)
from tidings.shop.providers.sandbox import SandboxProvider, derive_keys, sign

T = TypeVar("T")
KEYS = derive_keys([b"k" * 32, b"o" * 32])
_keys = itertools.count()


class Till:
    """A provider that takes notes, and signs what it calls back with as the sandbox does."""

    name = "till"

    def __init__(self) -> None:
        self.charges: list[Charge] = []
        self.repayments: list[Repayment] = []
        self.is_down = False
        self.before_answer: Callable[[Charge], object] = lambda _: None
        self._sandbox = SandboxProvider(lambda _: True, keys=KEYS)

    def start(self, charge: Charge) -> Started:
        self.charges.append(charge)
        self._be_reached()
        self.before_answer(charge)
        return Started(f"ref-{charge.payment_id}", "https://pay.example/1")

    def read_callback(self, headers: Mapping[str, str], body: bytes, now_s: float) -> Callback:
        return self._sandbox.read_callback(headers, body, now_s)

    def refund(self, repayment: Repayment) -> None:
        self._be_reached()
        self.repayments.append(repayment)

    def _be_reached(self) -> None:
        if self.is_down:
            raise ProviderUnavailableError("the till is closed")


class Shopfront:
    """One gateway.

    Args:
        options: of its shop, such as `caps`; `deadline_ms` is the gateway's.
    """

    def __init__(
        self, engine: Engine, redis: Redis, till: Till, *, deadline_ms: int = 60_000, **options: Any
    ) -> None:
        self.engine = engine
        self.door = make_door(engine, redis, deadline_ms=deadline_ms, provider=till, shop=options)

    def send(self, method: str, path: str, *, reader_id: int = READER_ID, **more: Any) -> Result:
        headers = {"X-Reader": self.door.signer.sign(reader_id), **more.pop("headers", {})}
        return self.door.client.simulate_request(method, path, headers=headers, **more)

    def order(
        self, *lines: tuple[int, int], reader_id: int = READER_ID, key: str = "", **more: Any
    ) -> Result:
        """POST /orders; lines are (product, pieces)."""
        body = {"lines": [{"product_id": id_, "quantity": n} for id_, n in lines or [(1, 1)]]}
        headers = {"Idempotency-Key": key or f"key{next(_keys)}"}
        return self.send("POST", "/orders", reader_id=reader_id, json=body, headers=headers, **more)

    def pay(self, order: Result, **more: Any) -> Result:
        """Begin to pay."""
        return self.send("POST", f"/orders/{order.json['order_id']}/payment", **more)

    def status(self, order: Result) -> str:
        return str(self.send("GET", f"/orders/{order.json['order_id']}").json["status"])

    def call_back(self, body: Mapping[str, Any] | bytes, signature: str | None = None) -> Result:
        """POST /payments/callback, signed."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        signature = self.sign(raw) if signature is None else signature
        return self.door.client.simulate_post(
            "/payments/callback", body=raw, headers={"Tidings-Signature": signature}
        )

    def sign(self, raw: bytes, key: bytes = KEYS[0]) -> str:
        return sign(key, raw, self.door.clock() // 1000)


def tell(charge: Charge, type_: str = "payment.succeeded", **changes: Any) -> dict[str, Any]:
    """What the till calls back with about a charge, unless `changes` say otherwise."""
    return {
        "event_id": f"{charge.payment_id}-{type_}",
        "type": type_,
        "payment_id": charge.payment_id,
        "provider_ref": f"ref-{charge.payment_id}",
        "amount_cents": charge.amount_cents,
        "currency": charge.currency,
        **changes,
    }


def at_once(works: Sequence[Callable[[], T]]) -> list[T]:
    """Do all of this at the same moment; what each came to, in order."""
    together = Barrier(len(works))

    def run(work: Callable[[], T]) -> T:
        together.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(run, work) for work in works]]
