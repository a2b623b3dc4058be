"""What operators are told of money, on both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from falcon import testing
from sqlalchemy import insert

from tests.lab.newsroom import HOUR_MS, NOW_MS
from tests.unit.gateway.doors import Door
from tidings.process.clock import moment
from tidings.readers.keys import Role
from tidings.shop.callbacks import Verdict
from tidings.shop.refunds import State
from tidings.shop.tables import orders, payment, payment_callback, refund
from tidings.store.engine import transaction

PATHS = ("/operator/money", "/operator/money/refunds", "/operator/money/callbacks")


def write_refunds(door: Door, *states: State) -> None:
    """A refund in each state, a second apart, the first an hour ago."""
    with transaction(door.newsroom.engine) as conn:
        for number, state in enumerate(states, start=1):
            at = moment(NOW_MS - HOUR_MS) + timedelta(seconds=number)
            money = {"currency": "EUR", "created_at": at}
            order = {"reader_id": 7, "idempotency_key": f"{number}", "request_hash": "x"}
            conn.execute(
                insert(orders).values(
                    id=number, status="cancelled", total_cents=450, expires_at=at, **order, **money
                )
            )
            about = {"order_id": number, "amount_cents": 450, **money}
            paid = {"provider": "sandbox", "provider_ref": f"ref-{number}", "state": "succeeded"}
            conn.execute(insert(payment).values(id=number, **paid, **about))
            owed = {"reason": "order was cancelled", "state": state.value}
            conn.execute(insert(refund).values(payment_id=number, **owed, **about))


def write_callbacks(door: Door, *verdicts: Verdict, is_open: int = 1) -> None:
    with transaction(door.newsroom.engine) as conn:
        for number, verdict in enumerate(verdicts, start=1):
            said = {
                "provider": "sandbox",
                "event_id": f"{is_open}-{number}",
                "type": "payment.succeeded",
                "payment_id": number,
                "amount_cents": 999,
                "currency": "EUR",
            }
            judged = {"verdict": verdict.value, "flaw": "another amount", "is_open": is_open}
            at = moment(NOW_MS + number)
            conn.execute(insert(payment_callback).values(at=at, **said, **judged))


def ask(door: Door, path: str, key: dict[str, str], **query: str) -> Any:
    answer = door.client.simulate_get(path, headers=key, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json


def test_when_all_is_well_there_is_nothing_to_tell(door: Door) -> None:
    write_refunds(door, State.SENT)
    write_callbacks(door, Verdict.PAID, is_open=0)
    key = door.make_key(Role.OPERATOR)

    assert ask(door, "/operator/money", key) == {"refunds": [], "callbacks": []}
    assert ask(door, "/operator/money/refunds", key) == {"results": [], "next": None}
    assert ask(door, "/operator/money/callbacks", key) == {"results": [], "next": None}


def test_what_is_owed_and_what_does_not_fit_is_counted_with_the_oldest(door: Door) -> None:
    write_refunds(door, State.OWED, State.SENT, State.DEAD, State.OWED)
    write_callbacks(door, Verdict.MISMATCH, Verdict.MISMATCH, Verdict.UNKNOWN_PAYMENT)

    told = ask(door, "/operator/money", door.make_key(Role.OPERATOR))

    first = NOW_MS - HOUR_MS
    assert sorted(told["refunds"], key=lambda row: str(row["state"])) == [
        {"state": "dead", "number": 1, "oldest_at": first + 3000},
        {"state": "owed", "number": 2, "oldest_at": first + 1000},
    ]
    assert sorted(told["callbacks"], key=lambda row: str(row["verdict"])) == [
        {"verdict": "mismatch", "number": 2, "oldest_at": NOW_MS + 1},
        {"verdict": "unknown_payment", "number": 1, "oldest_at": NOW_MS + 3},
    ]


def test_refunds_are_listed_page_by_page_the_oldest_first(door: Door) -> None:
    write_refunds(door, State.OWED, State.SENT, State.DEAD, State.OWED)
    key = door.make_key(Role.OPERATOR)

    first = ask(door, "/operator/money/refunds", key, limit="2")
    rest = ask(door, "/operator/money/refunds", key, limit="2", after=first["next"])

    assert [row["payment_id"] for row in first["results"]] == [1, 3]
    assert [row["payment_id"] for row in rest["results"]] == [4]
    assert rest["next"] is None
    assert first["results"][0] == {
        "payment_id": 1,
        "order_id": 1,
        "amount_cents": 450,
        "currency": "EUR",
        "reason": "order was cancelled",
        "state": "owed",
        "created_at": NOW_MS - HOUR_MS + 1000,
        "error": None,
        "provider": "sandbox",
        "provider_ref": "ref-1",
    }


def test_callbacks_are_listed_page_by_page_with_what_is_wrong(door: Door) -> None:
    write_callbacks(door, *[Verdict.MISMATCH] * 3)
    key = door.make_key(Role.OPERATOR)

    first = ask(door, "/operator/money/callbacks", key, limit="2")
    rest = ask(door, "/operator/money/callbacks", key, limit="2", after=first["next"])

    rows = first["results"] + rest["results"]
    assert [row["event_id"] for row in rows] == ["1-1", "1-2", "1-3"]
    assert (rows[0]["flaw"], rows[0]["verdict"], rows[0]["at"]) == (
        "another amount", "mismatch", NOW_MS + 1
    )  # fmt: skip
    assert rest["next"] is None


def test_a_cursor_of_one_list_or_of_another_operator_is_refused(door: Door) -> None:
    write_refunds(door, State.OWED, State.OWED)
    write_callbacks(door, Verdict.MISMATCH, Verdict.MISMATCH)
    key, other = door.make_key(Role.OPERATOR), door.make_key(Role.OPERATOR, "other")
    following = ask(door, "/operator/money/refunds", key, limit="1")["next"]

    for path, headers in ((PATHS[2], key), (PATHS[1], other)):
        query = {"after": following}
        answer = door.client.simulate_get(path, headers=headers, params=query)
        assert answer.status_code == 422


@pytest.mark.parametrize("path", PATHS)
def test_money_is_shown_to_operators_alone_and_kept_by_no_cache(door: Door, path: str) -> None:
    def status(**options: Any) -> testing.Result:
        return door.client.simulate_get(path, **options)

    assert status().status_code == 401
    assert door.get(path).status_code == 401
    assert status(headers=door.make_key(Role.EDITOR)).status_code == 403
    answer = status(headers=door.make_key(Role.OPERATOR))
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert "Authorization" in answer.headers["Vary"]


def test_the_description_says_that_a_key_of_the_role_is_needed(door: Door) -> None:
    paths = door.client.simulate_get("/openapi.json").json["paths"]

    for path in PATHS:
        described = paths[path]["get"]
        assert described["security"] == [{"key": ["operator"]}]
        assert {"401", "403"} <= set(described["responses"])
