"""Readers who buy, each from an address of their own, and what each of them was told.

A reader asks again, at the other gateway, for as long as there is no answer, or only one that says
to come again; an order by the same key. What was answered is written down, and is then owed: an
answer that never came promises nothing.

    reader = Reader(shop.ports, number=1, told=Told())
    reader.place({1: 2})
"""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from tests.faults.money_site import SECRET_KEY
from tidings.http.reader_id import FIRST_ID, ReaderSigner

PATIENCE_S = 60.0
TIMEOUT_S = 10.0
# To be asked again: too fast, no room, no store, no provider.
COME_AGAIN = (429, 502, 503)
# Status and problem of the final answers that a reader who asks for nothing odd may get.
RIGHT = {
    "place": {(201, ""), (409, "out-of-stock"), (409, "too-much-held")},
    "pay": {(202, ""), (409, "order-closed")},
    "cancel": {(200, ""), (409, "order-closed")},
    "read": {(200, "")},
    "feed": {(200, "")},
    "article": {(200, "")},
    "report": {(202, "")},
    "mark": {(204, "")},
}


class Answer(NamedTuple):
    """What a gateway said; `reader_id` is 0 where it named no reader."""

    status: int
    body: dict[str, Any]
    reader_id: int = 0

    @property
    def slug(self) -> str:
        """The end of a problem's type; empty where nothing was refused."""
        return str(self.body.get("type", "")).rpartition("#")[2]


class Placed(msgspec.Struct, frozen=True):
    """An order that a reader was told of."""

    order_id: int
    reader_id: int
    lines: tuple[tuple[int, int], ...]
    total_cents: int


@dataclass
class Told:
    """What readers were told, by order; and what they should not have been told."""

    placed: dict[int, Placed] = field(default_factory=dict)
    cancelled: set[int] = field(default_factory=set)
    paying: dict[int, int] = field(default_factory=dict)
    wrong: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, what: str, answer: Answer) -> None:
        with self.lock:
            self.statuses[f"{what}: {answer.status} {answer.slug}".strip()] += 1
            if (answer.status, answer.slug) not in RIGHT[what]:
                self.wrong[f"{what}: {answer.status} {answer.slug or answer.body}"] += 1


class Reader:
    """One reader, who was here before."""

    _keys = itertools.count(1)

    def __init__(
        self, ports: list[int], *, number: int, told: Told, address: str | None = None
    ) -> None:
        self._ports = itertools.cycle(ports if number % 2 else ports[::-1])
        self._port = next(self._ports)
        self._told = told
        # All of 127/8 is this machine, so each reader has an address, as out in the world.
        self._address = (
            address or f"127.{1 + number // 62500}.{number // 250 % 250}.{1 + number % 250}"
        )
        self.reader_id = FIRST_ID + number
        # None: nobody, who is given a new name with each answer.
        self.name: str | None = ReaderSigner([SECRET_KEY.encode()]).sign(self.reader_id)
        self._connection: http.client.HTTPConnection | None = None

    def new_key(self) -> str:
        return f"key-{next(self._keys)}-{time.time_ns()}"

    def place(self, wanted: dict[int, int], key: str = "") -> Answer:
        """Order so many pieces of each product."""
        body = {"lines": [{"product_id": id_, "quantity": n} for id_, n in wanted.items()]}
        answer = self.ask("POST", "/orders", body, {"Idempotency-Key": key or self.new_key()})
        self._told.note("place", answer)
        if answer.status == 201:
            lines = [(line["product_id"], line["quantity"]) for line in answer.body["lines"]]
            placed = Placed(
                answer.body["order_id"],
                answer.reader_id or self.reader_id,
                lines=tuple(sorted(lines)),
                total_cents=answer.body["total_cents"],
            )
            with self._told.lock:
                before = self._told.placed.setdefault(placed.order_id, placed)
                if before != placed or dict(placed.lines) != wanted:
                    self._told.wrong["place: another order than was wanted"] += 1
        return answer

    def pay(self, order_id: int) -> Answer:
        """Start paying; the bank calls back later."""
        answer = self.ask("POST", f"/orders/{order_id}/payment")
        self._told.note("pay", answer)
        if answer.status == 202:
            with self._told.lock:
                self._told.paying[answer.body["payment_id"]] = order_id
        return answer

    def cancel(self, order_id: int) -> Answer:
        answer = self.ask("DELETE", f"/orders/{order_id}")
        self._told.note("cancel", answer)
        if answer.status == 200:
            with self._told.lock:
                is_cancelled = answer.body["cancelled_for"] == "by_reader"
                if is_cancelled:
                    self._told.cancelled.add(order_id)
                self._told.wrong["cancel: 200, not cancelled"] += (
                    answer.body["status"] != "cancelled"
                )
        return answer

    def read(self, order_id: int) -> Answer:
        answer = self.ask("GET", f"/orders/{order_id}")
        self._told.note("read", answer)
        return answer

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """The final answer of some gateway."""
        give_up_at_s = time.monotonic() + PATIENCE_S
        answer = Answer(0, {"type": "#no-answer"})
        while time.monotonic() < give_up_at_s:
            try:
                answer = self._ask_once(method, path, body, headers or {})
            except (OSError, http.client.HTTPException):
                self.close()
            else:
                if answer.status not in COME_AGAIN:
                    return answer
                if answer.status == 429:
                    time.sleep(1)
            self.go_elsewhere()
            time.sleep(0.05)
        return answer

    def go_elsewhere(self) -> None:
        """To the other gateway."""
        self._port = next(self._ports)
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _ask_once(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                "127.0.0.1", self._port, timeout=TIMEOUT_S, source_address=(self._address, 0)
            )
        sent = {"X-Reader": self.name, **headers} if self.name else dict(headers)
        if body is not None:
            sent["Content-Type"] = "application/json"
        self._connection.request(
            method, path, None if body is None else msgspec.json.encode(body), sent
        )
        answer = self._connection.getresponse()
        raw = answer.read()
        if answer.status == 204:
            return Answer(204, {})
        kind = answer.headers.get_content_type()
        expected = "application/json" if answer.status < 400 else "application/problem+json"
        if answer.status in (429, 503) and "Retry-After" not in answer.headers:
            return Answer(500, {"type": f"#{answer.status}-without-retry-after"})
        if kind != expected:
            return Answer(answer.status, {"type": f"#{kind}-for-{answer.status}"})
        named = (answer.headers["X-Reader"] or "0").partition(".")[0]
        return Answer(answer.status, msgspec.json.decode(raw), int(named))
