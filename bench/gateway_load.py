"""The mixed load of the long form, for locust: visitors who read, report, mark, order, pay and
cancel, each from an address of their own, and every answer looked at.

    GATEWAY_LOAD='{…}' python -m locust -f bench/gateway_load.py --headless -u 40 -r 4 -t 10m
"""

from __future__ import annotations

import itertools
import os
import random
import time
from pathlib import Path
from typing import Any

import msgspec
from locust import User, between, events

from bench.gateway_ledger import PLAN, Ledger, Plan
from tests.faults.money_readers import Answer, Reader, Told
from tests.faults.money_site import PLENTY, SECRET_KEY
from tidings.process.clock import now_ms
from tidings.reading.tracking import Tracker

# Whose tokens an answer bears: a visitor's own, or those of a stranger who has just been named.
FIRST_STRANGER = 2**52
REPORTED = ("click", "read", "collect")


plan = msgspec.json.decode(os.environ[PLAN], type=Plan)
told = Told()
tracker = Tracker([SECRET_KEY.encode()])
acts: set[bytes] = set()
exposures: set[bytes] = set()
likings: dict[tuple[int, int], bool] = {}
numbers = itertools.count(1)


class TimedReader(Reader):
    """A reader whose every try locust counts."""

    def __init__(self, number: int, environment: Any) -> None:
        super().__init__(plan.ports, number=number, told=told)
        self._environment = environment

    def _ask_once(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        began_s = time.monotonic()
        answer, error = Answer(0, {}), None
        try:
            answer = super()._ask_once(method, path, body, headers)
        except Exception as ex:
            error = ex
            raise
        finally:
            if answer.status >= 500:
                error = RuntimeError(f"{answer.status} {answer.slug}")
            self._environment.events.request.fire(
                request_type=method,
                name=path.split("/")[1].partition("?")[0],
                response_time=(time.monotonic() - began_s) * 1000,
                response_length=0,
                exception=error,
                context={},
            )
        return answer


class Visitor(User):  # type: ignore[misc]  # locust is there for the long form alone
    """One browser."""

    wait_time = between(0.2, 1.5)

    def on_start(self) -> None:
        number = next(numbers)
        self.draw = random.Random(f"{plan.seed}:{number}")
        self.reader = TimedReader(number, self.environment)
        self.cards: list[dict[str, Any]] = []
        self.exposure = ""
        self.orders: list[int] = []

    def on_stop(self) -> None:
        self.reader.close()

    def read_feed(self) -> None:
        answer = self.reader.ask("GET", "/articles?article_num=10")
        told.note("feed", answer)
        if answer.status == 200:
            self.cards, self.exposure = answer.body["results"], answer.body["exposure"]
            self._look_at_feed(lambda reader_id: reader_id == self.reader.reader_id)

    def come_as_stranger(self) -> None:
        name, self.reader.name = self.reader.name, None
        answer = self.reader.ask("GET", "/articles?article_num=5")
        self.reader.name = name
        told.note("feed", answer)
        if answer.status == 200:
            self.cards, self.exposure = answer.body["results"], ""
            self._look_at_feed(lambda reader_id: reader_id != self.reader.reader_id)
            self.cards = []

    def read_article(self) -> None:
        if self.cards:
            path = f"/articles/{self.draw.choice(self.cards)['article_id']}"
            answer = self.reader.ask("GET", self.draw.choice((path, f"{path}/similar")))
            told.note("article", answer)

    def report(self) -> None:
        if not self.cards:
            return
        cards = self.draw.sample(self.cards, min(3, len(self.cards)))
        tokens = [card["track"][self.draw.choice(REPORTED)] for card in cards]
        seen = [self.exposure] if self.exposure else []
        body = {"events": [{"track": token} for token in (*tokens, *seen)]}
        answer = self.reader.ask("POST", "/behaviors", body)
        told.note("report", answer)
        if answer.status == 202:
            verdicts = {result["verdict"] for result in answer.body["results"]}
            if verdicts != {"accepted"}:
                told.wrong[f"report: {verdicts}"] += 1
            acts.update(tracker.read(token, now_ms()).event_id for token in tokens)
            exposures.update(tracker.read(token, now_ms()).event_id for token in seen)

    def mark(self) -> None:
        if not self.cards:
            return
        article_id = self.draw.choice(self.cards)["article_id"]
        key, method = (
            (self.reader.reader_id, article_id),
            self.draw.choice(("PUT", "PUT", "DELETE")),
        )
        # Not known from the moment of the question until there is an answer.
        likings.pop(key, None)
        answer = self.reader.ask(method, f"/articles/{article_id}/liking")
        told.note("mark", answer)
        if answer.status == 204:
            likings[key] = method == "PUT"

    def order(self) -> None:
        answer = self.reader.place({self.draw.choice(PLENTY): self.draw.randint(1, 2)})
        if answer.status == 201:
            self.orders.append(answer.body["order_id"])

    def pay(self) -> None:
        if self.orders:
            self.reader.pay(self.orders[-1])

    def cancel(self) -> None:
        if self.orders:
            self.reader.cancel(self.draw.choice(self.orders))

    tasks = {
        read_feed: 10,
        come_as_stranger: 1,
        read_article: 5,
        report: 6,
        mark: 3,
        order: 3,
        pay: 2,
        cancel: 1,
    }

    def _look_at_feed(self, is_right: Any) -> None:
        """Ten different articles, with tokens of the reader who asked."""
        tokens = [card["track"]["click"] for card in self.cards]
        readers = {tracker.read(token, now_ms()).reader_id for token in tokens}
        ids = {card["article_id"] for card in self.cards}
        if not self.cards or len(ids) != len(self.cards):
            told.wrong["feed: empty, or an article twice"] += 1
        if not all(map(is_right, readers)):
            told.wrong["feed: of another reader"] += 1


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def write_ledger(environment: Any, **_: Any) -> None:
    """What is owed from now on; lost connections are no failure of the load itself."""
    total = environment.stats.total
    ledger = Ledger(
        placed=list(told.placed.values()),
        cancelled=sorted(told.cancelled),
        paying={str(id_): order_id for id_, order_id in told.paying.items()},
        wrong=dict(+told.wrong),
        statuses=dict(told.statuses),
        acts=[event_id.hex() for event_id in acts],
        exposures=[event_id.hex() for event_id in exposures],
        likings=[(*key, stands) for key, stands in likings.items()],
        tries=total.num_requests,
        unanswered=total.num_failures,
        p50_ms=total.get_response_time_percentile(0.5),
        p99_ms=total.get_response_time_percentile(0.99),
    )
    Path(plan.ledger).write_bytes(msgspec.json.encode(ledger))
    environment.process_exit_code = 0
