"""What providers call back with: all of it is kept, once, and what does not fit alarms a person."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result
from falcon.testing import Result as Answer
from prometheus_client import REGISTRY
from sqlalchemy import select, update

from tests.lab.buyers import KEYS, Shopfront, Till, at_once, tell
from tests.lab.shelf import Shop
from tidings.commands.main import main
from tidings.process.errors import PREFIX
from tidings.shop import callbacks
from tidings.shop.callbacks import Recorded
from tidings.shop.providers import Charge, ProviderUnavailableError
from tidings.shop.tables import payment, payment_callback, refund
from tidings.store.engine import database_now, transaction

Type = Callable[..., Result]
Begin = Callable[[], tuple[Answer, Charge]]


@pytest.fixture
def begin(front: Shopfront, till: Till) -> Begin:
    """Order, and begin to pay."""

    def begin_one() -> tuple[Answer, Charge]:
        order = front.order((1, 2))
        assert front.pay(order).status_code == 202
        return order, till.charges[-1]

    return begin_one


@pytest.fixture
def typed(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Type:
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", database_url)

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, ("payments", *words))

    return run


def kept(shop: Shop) -> list[Recorded]:
    """Every callback that was kept, the newest first."""
    with shop.engine.connect() as conn:
        return callbacks.find_newest(conn, limit=1000)


def count(outcome: str) -> float:
    found = REGISTRY.get_sample_value("tidings_payment_callbacks_total", {"outcome": outcome})
    return found or 0.0


def test_each_callback_is_kept_with_what_it_said_and_came_to(
    front: Shopfront, shop: Shop, begin: Begin
) -> None:
    order, charge = begin()
    for type_ in ("payment.pending", "payment.failed", "payment.succeeded"):
        assert front.call_back(tell(charge, type_)).status_code == 200

    assert front.status(order) == "paid"
    newest, *_ = found = kept(shop)
    assert [row.verdict for row in found] == ["paid", "failed", "noted"]
    assert (newest.provider, newest.event_id) == ("till", f"{charge.payment_id}-payment.succeeded")
    assert (newest.payment_id, newest.provider_ref) == (
        charge.payment_id,
        f"ref-{charge.payment_id}",
    )
    assert (newest.amount_cents, newest.currency, newest.is_open) == (200, "EUR", False)


@pytest.mark.parametrize(
    "body",
    [
        {"type": "payment.refunded"},
        {"type": "charge.dispute.created", "payment_id": "pi_77", "amount_cents": {"net": 1.5}},
        {"type": "ping"},
        {"type": "payment.succeeded.late", "currency": None, "payment_id": 2**80},
    ],
)
def test_an_unknown_type_is_noted_whatever_else_it_says(
    front: Shopfront, shop: Shop, body: dict[str, Any]
) -> None:
    answer = front.call_back({"event_id": "e1", **body})

    assert (answer.status_code, answer.json) == (200, {"settlement": "noted"})
    (row,) = kept(shop)
    assert (row.event_id, row.type, row.verdict, row.is_open) == (
        "e1",
        body["type"],
        "noted",
        False,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_cents": 199},
        {"amount_cents": 2**63 - 1},
        {"currency": "eur"},
        {"currency": "USD"},
        {"provider_ref": "another"},
        {"provider_ref": None},
        {"amount_cents": None},
    ],
    ids=str,
)
def test_what_differs_from_what_was_asked_for_is_kept_and_alarmed_and_changes_nothing(
    front: Shopfront, shop: Shop, begin: Begin, changes: dict[str, Any]
) -> None:
    order, charge = begin()
    before = count("mismatch")

    with structlog.testing.capture_logs() as logs:
        answer = front.call_back(tell(charge, event_id="odd", **changes))

    # A provider that is told 4xx repeats it for days, and then gives up what it knows.
    assert (answer.status_code, answer.json) == (200, {"settlement": "mismatch"})
    assert count("mismatch") == before + 1
    (alarm,) = [line for line in logs if line["event"] == "payment_callback_differs"]
    assert (alarm["log_level"], alarm["event_id"]) == ("critical", "odd")
    (row,) = kept(shop)
    assert row.is_open
    assert f"asked for 200 EUR under ref-{charge.payment_id}, told of" in (row.flaw or "")
    assert front.status(order) == "unpaid"
    assert front.call_back(tell(charge)).json == {"settlement": "paid"}


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_cents": "200"},
        {"amount_cents": 2**63},
        {"amount_cents": 2**70},
        {"amount_cents": -1},
        {"amount_cents": 1.5},
        {"payment_id": 2**63},
        {"payment_id": -1},
        {"payment_id": 0},
        {"payment_id": "1"},
        {"currency": "E" * 9},
        {"currency": 7},
        {"provider_ref": ""},
        {"provider_ref": "r" * 129},
        {"event_id": "e" * 129},
        {"event_id": "é"},
        {"event_id": "e\n"},
        {"event_id": 7},
        {"type": "t" * 65},
        {"type": None},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_value_that_cannot_be_is_kept_and_refused_in_words(
    front: Shopfront, shop: Shop, begin: Begin, changes: dict[str, Any]
) -> None:
    order, charge = begin()
    before = count("unreadable")

    answers = [front.call_back(tell(charge, **changes)) for _ in range(2)]

    assert {answer.status_code for answer in answers} == {422}
    assert {answer.json["type"] for answer in answers} == {"/docs#callback-unreadable"}
    (field,) = changes
    assert field in answers[0].json["detail"]
    (row,) = kept(shop)
    assert (row.verdict, row.is_open) == ("unreadable", True)
    assert count("unreadable") == before + 1, "the second is a repeat"
    assert front.status(order) == "unpaid"


@pytest.mark.parametrize(
    "body", [b"", b"[", b"\xff", b"[" * 9999, b"9" * 5000, b"null", b'{"event_id": "\\ud800"}']
)
def test_a_signed_body_that_is_no_callback_is_kept_too(
    front: Shopfront, shop: Shop, body: bytes
) -> None:
    assert front.call_back(body).status_code == 422

    (row,) = kept(shop)
    assert row.verdict == "unreadable"
    assert row.event_id.startswith("sha256:")


def test_an_unsigned_body_is_not_kept(front: Shopfront, shop: Shop, begin: Begin) -> None:
    """What anybody can send must not fill the table."""
    _, charge = begin()

    assert front.call_back(tell(charge), signature="t=1,v1=00").status_code == 403
    assert kept(shop) == []


@pytest.mark.parametrize("payment_id", [999_999, 2**63 - 1])
def test_a_callback_for_a_payment_that_was_never_started_is_kept_and_alarmed(
    front: Shopfront, shop: Shop, begin: Begin, payment_id: int
) -> None:
    _, charge = begin()

    answer = front.call_back(tell(charge, payment_id=payment_id))

    assert (answer.status_code, answer.json) == (200, {"settlement": "unknown_payment"})
    (row,) = kept(shop)
    assert (row.payment_id, row.is_open) == (payment_id, True)


def test_another_providers_payment_is_none_of_this_ones(
    front: Shopfront, shop: Shop, begin: Begin
) -> None:
    """The site has changed its provider, and their numbers may meet."""
    _, charge = begin()
    with transaction(shop.engine) as conn:
        conn.execute(update(payment).values(provider="before"))

    assert front.call_back(tell(charge)).json == {"settlement": "unknown_payment"}


def test_any_of_several_signatures_counts(front: Shopfront, begin: Begin) -> None:
    """While a secret is replaced, providers sign with both."""
    _, charge = begin()
    raw = json.dumps(tell(charge, "payment.pending")).encode()
    stamp, good = front.sign(raw, KEYS[1]).split(",")
    foreign = front.sign(raw, b"foreign").split(",")[1]

    for signatures in ([good, foreign], [foreign, good], [foreign, "v0=x", good, "v1=ä", "v1="]):
        header = ",".join([stamp, *signatures])
        assert front.call_back(raw, header).status_code == 200, header
    assert front.call_back(raw, ",".join([stamp, foreign, foreign])).status_code == 403


@pytest.mark.parametrize("first", ["payment.succeeded", "payment.failed", "payment.pending"])
def test_an_event_that_comes_again_is_answered_as_the_first_time(
    front: Shopfront, shop: Shop, begin: Begin, first: str
) -> None:
    _, charge = begin()
    told = front.call_back(tell(charge, first, event_id="e1")).json
    front.call_back(tell(charge, event_id="e2"))

    # Whatever has happened since.
    assert front.call_back(tell(charge, first, event_id="e1")).json == told
    assert len(kept(shop)) == 2


def test_an_event_that_says_something_else_is_another_fact_and_told_twice_one(
    front: Shopfront, shop: Shop, begin: Begin
) -> None:
    """Some providers name a payment and not what happened to it: its success is no repeat of the
    wait for it, and another amount under the same name is alarmed about."""
    order, charge = begin()
    before = count("mismatch")
    assert front.call_back(tell(charge, "payment.pending", event_id="e1")).json == {
        "settlement": "noted"
    }
    differs = tell(charge, event_id="e1", amount_cents=1)
    with structlog.testing.capture_logs() as lines:
        assert front.call_back(differs).json == {"settlement": "mismatch"}
        assert front.call_back(differs).json == {"settlement": "mismatch"}
        assert front.call_back(tell(charge, event_id="e1")).json == {"settlement": "paid"}

    assert front.status(order) == "paid"
    assert count("mismatch") == before + 1
    assert [row.verdict for row in kept(shop)] == ["paid", "mismatch", "noted"]
    assert [line["event"] for line in lines].count("payment_event_reused") == 2


def test_one_event_twelve_times_at_once_is_judged_once(
    front: Shopfront, shop: Shop, begin: Begin
) -> None:
    order, charge = begin()
    front.send("DELETE", f"/orders/{order.json['order_id']}")

    answers = at_once([partial(front.call_back, tell(charge))] * 12)

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json["settlement"] for answer in answers} == {"refunded"}
    assert len(kept(shop)) == 1
    with shop.engine.connect() as conn:
        assert len(conn.execute(select(refund)).all()) == 1
    assert [job.ref for job in shop.jobs() if job.kind == "refund"] == [str(charge.payment_id)]


def test_twelve_events_of_one_success_at_once_pay_once(
    front: Shopfront, shop: Shop, begin: Begin
) -> None:
    order, charge = begin()

    answers = at_once([partial(front.call_back, tell(charge, event_id=f"e{n}")) for n in range(12)])

    assert {answer.json["settlement"] for answer in answers} == {"paid"}
    assert front.status(order) == "paid"
    assert len(kept(shop)) == 12


def test_the_first_to_tell_a_payments_name_is_believed(
    front: Shopfront, shop: Shop, till: Till
) -> None:
    """A callback may be faster than the answer to the start, and that answer may be lost."""
    order = front.order((1, 1))

    def call_back_first(charge: Charge) -> None:
        assert front.call_back(tell(charge, "payment.pending")).json == {"settlement": "noted"}
        raise ProviderUnavailableError("the answer is lost")

    till.before_answer = call_back_first
    assert front.pay(order).status_code == 502
    (charge,) = till.charges

    other = tell(charge, provider_ref="another", event_id="odd")
    assert front.call_back(other).json == {"settlement": "mismatch"}
    assert front.call_back(tell(charge)).json == {"settlement": "paid"}


def test_a_provider_that_names_a_payment_anew_is_alarmed_about(
    front: Shopfront, till: Till
) -> None:
    order = front.order((1, 1))
    till.before_answer = lambda charge: front.call_back(
        tell(charge, "payment.pending", provider_ref="first")
    )

    with structlog.testing.capture_logs() as logs:
        assert front.pay(order).status_code == 202

    (alarm,) = [line for line in logs if line["event"] == "payment_reference_changed"]
    assert (alarm["known"], alarm["said"]) == ("first", f"ref-{till.charges[0].payment_id}")


def test_what_does_not_fit_is_listed_until_a_person_closes_it(
    front: Shopfront, begin: Begin, typed: Type
) -> None:
    _, charge = begin()
    front.call_back(tell(charge, event_id="odd", amount_cents=1))
    front.call_back(tell(charge))

    (listed,) = [json.loads(line) for line in typed("callbacks", "--json").stdout.splitlines()]
    assert (listed["verdict"], listed["event"]) == ("mismatch", "odd")
    assert len(typed("callbacks", "--all", "--json").stdout.splitlines()) == 2

    assert typed("close", str(listed["callback"])).output == "1 closed\n"

    assert typed("callbacks").output == "nothing to show\n"
    again = typed("close", str(listed["callback"]))
    assert again.exit_code == 2
    assert "waits for a person" in again.output
    assert len(typed("callbacks", "--all", "--json").stdout.splitlines()) == 2


def test_old_callbacks_are_swept_and_open_ones_stay(
    front: Shopfront, shop: Shop, begin: Begin
) -> None:
    _, charge = begin()
    front.call_back(tell(charge, event_id="odd", amount_cents=1))
    front.call_back(tell(charge, "payment.pending", event_id="old"))
    with transaction(shop.engine) as conn:
        now = conn.execute(select(database_now(conn))).scalar_one()
        conn.execute(update(payment_callback).values(at=now - timedelta(days=91)))
    front.call_back(tell(charge))

    with transaction(shop.engine) as conn:
        assert callbacks.sweep(conn, now - timedelta(days=90)) == 1

    assert [row.event_id for row in kept(shop)] == [f"{charge.payment_id}-payment.succeeded", "odd"]
