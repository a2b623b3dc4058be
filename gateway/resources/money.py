"""`/operator/money`: what is left of money that a person has to know of.

Refunds that are owed or were given up, and callbacks of the provider that do not fit what was asked
for. The first page counts them and names the oldest; a list each has them one by one. What is done
about them is done at the site's shell, by `tidings refunds` and `tidings payments`. Rejected: to
pay back from here; a stolen key would move money.

    curl -H "Authorization: Bearer $KEY" http://127.0.0.1:8000/operator/money
"""

from __future__ import annotations

from http import HTTPStatus

import falcon
import msgspec
from sqlalchemy import Engine

from tidings.http.bodies import answer_json
from tidings.http.cursors import AFTER, LIMIT, Cursors
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import read_parameters, read_text
from tidings.process.clock import milliseconds, moment
from tidings.readers.keys import Role
from tidings.shop import callbacks, refunds


class RefundsWaiting(msgspec.Struct, frozen=True):
    """How many refunds are `owed`, or `dead`: given up until a person sends them again."""

    state: str
    number: int
    oldest_at: int


class CallbacksWaiting(msgspec.Struct, frozen=True):
    """How many callbacks of one verdict a person has not looked at."""

    verdict: str
    number: int
    oldest_at: int


class Money(msgspec.Struct, frozen=True):
    """What is left of money; both lists are empty when all is well. Moments are ms since 1970."""

    refunds: list[RefundsWaiting]
    callbacks: list[CallbacksWaiting]


class RefundShown(msgspec.Struct, frozen=True):
    """Money that has to go back; `error` says why sending it was given up."""

    payment_id: int
    order_id: int
    amount_cents: int
    currency: str
    reason: str
    state: str
    created_at: int
    error: str | None
    provider: str
    provider_ref: str | None


class RefundsShown(msgspec.Struct, frozen=True):
    """The oldest first; `next` asks for the page after this one as `after`; null on the last."""

    results: list[RefundShown]
    next: str | None


class CallbackShown(msgspec.Struct, frozen=True):
    """What a provider said, and `flaw`: what is wrong with it."""

    callback_id: int
    provider: str
    event_id: str
    type: str
    payment_id: int | None
    provider_ref: str | None
    amount_cents: int | None
    currency: str | None
    verdict: str
    flaw: str | None
    at: int


class CallbacksShown(msgspec.Struct, frozen=True):
    """The oldest first; `next` asks for the page after this one as `after`; null on the last."""

    results: list[CallbackShown]
    next: str | None


ROLE = {"get": Role.OPERATOR}
PROBLEMS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY)


class MoneyResource:
    """`GET /operator/money`."""

    needs_role = ROLE
    limit_class = LimitClass.FEED
    operations = {
        "get": Operation(
            "What is left of money: how much, and since when", answers=Money, problems=PROBLEMS
        )
    }

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        with self._engine.connect() as conn:
            owed, told = refunds.count_refunds(conn), callbacks.count_open(conn)
        money = Money(
            [
                RefundsWaiting(count.state, count.number, milliseconds(count.oldest_at))
                for count in owed
                if count.state in refunds.UNSENT
            ],
            [
                CallbacksWaiting(count.verdict, count.number, milliseconds(count.oldest_at))
                for count in told
            ],
        )
        answer_json(resp, money)


class RefundsResource:
    """`GET /operator/money/refunds`."""

    needs_role = ROLE
    limit_class = LimitClass.FEED
    operations = {
        "get": Operation(
            "Refunds that are owed or were given up, the oldest first",
            answers=RefundsShown,
            parameters=(LIMIT, AFTER),
            problems=PROBLEMS,
        )
    }

    def __init__(self, engine: Engine, cursors: Cursors) -> None:
        self._engine = engine
        self._cursors = cursors

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        limit = read_parameters(req, [LIMIT], texts=[AFTER])[LIMIT.name]
        place = self._cursors.read("refunds", req.context.reader_id, read_text(req, AFTER))
        after = place and (moment(place[0]), place[2])
        with self._engine.connect() as conn:
            found = refunds.find_refunds(conn, states=refunds.UNSENT, after=after, limit=limit + 1)
        page, following = self._cursors.cut(
            "refunds",
            req.context.reader_id,
            found,
            limit=limit,
            place=lambda last: (milliseconds(last.created_at), 0, last.payment_id),
        )
        shown = [
            RefundShown(
                **msgspec.structs.asdict(refund) | {"created_at": milliseconds(refund.created_at)}
            )
            for refund in page
        ]
        answer_json(resp, RefundsShown(shown, following))


class CallbacksResource:
    """`GET /operator/money/callbacks`."""

    needs_role = ROLE
    limit_class = LimitClass.FEED
    operations = {
        "get": Operation(
            "Callbacks of the payment provider that a person has to look at, the oldest first",
            answers=CallbacksShown,
            parameters=(LIMIT, AFTER),
            problems=PROBLEMS,
        )
    }

    def __init__(self, engine: Engine, cursors: Cursors) -> None:
        self._engine = engine
        self._cursors = cursors

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        limit = read_parameters(req, [LIMIT], texts=[AFTER])[LIMIT.name]
        place = self._cursors.read("callbacks", req.context.reader_id, read_text(req, AFTER))
        with self._engine.connect() as conn:
            found = callbacks.find_open(conn, after_id=place[2] if place else 0, limit=limit + 1)
        page, following = self._cursors.cut(
            "callbacks",
            req.context.reader_id,
            found,
            limit=limit,
            place=lambda last: (0, 0, last.id),
        )
        shown = [
            CallbackShown(
                callback_id=told.id,
                provider=told.provider,
                event_id=told.event_id,
                type=told.type,
                payment_id=told.payment_id,
                provider_ref=told.provider_ref,
                amount_cents=told.amount_cents,
                currency=told.currency,
                verdict=told.verdict,
                flaw=told.flaw,
                at=milliseconds(told.at),
            )
            for told in page
        ]
        answer_json(resp, CallbacksShown(shown, following))


def money_routes(engine: Engine, cursors: Cursors) -> dict[str, object]:
    """Path → resource, of everything about money."""
    return {
        "/operator/money": MoneyResource(engine),
        "/operator/money/refunds": RefundsResource(engine, cursors),
        "/operator/money/callbacks": CallbacksResource(engine, cursors),
    }
