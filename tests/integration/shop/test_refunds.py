"""Money that is owed is sent back by the daemon: once in effect, for hours, then by a person."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client import REGISTRY
from sqlalchemy import delete, select, update

from jobs.delayed.batches import Batches
from jobs.errands import PATIENT
from jobs.handlers import make_handlers
from jobs.static.context import Context, Run
from jobs.work.money import watch_money
from tests.conftest import MakeSettings
from tests.integration.shop.conftest import MakeBatches
from tests.lab.buyers import Shopfront, Till, tell
from tests.lab.handlers import UNCACHED
from tests.lab.shelf import Shop
from tidings.commands.main import main
from tidings.process.errors import PREFIX
from tidings.shop import refunds
from tidings.shop.refunds import REFUND, State
from tidings.shop.tables import refund
from tidings.store.delayed_tables import delayed_job
from tidings.store.engine import database_now, transaction

Owe = Callable[[], int]


@pytest.fixture
def owe(front: Shopfront, till: Till) -> Owe:
    """A payment that succeeds after its order was cancelled; its number."""

    def owe_one() -> int:
        order = front.order((1, 1))
        front.pay(order)
        front.send("DELETE", f"/orders/{order.json['order_id']}")
        assert front.call_back(tell(till.charges[-1])).json == {"settlement": "refunded"}
        return till.charges[-1].payment_id

    return owe_one


@pytest.fixture
def daemon(shop: Shop, till: Till, make_batches: MakeBatches) -> Batches:
    """What a daemon runs delayed jobs with."""

    def send(payment_id: int) -> None:
        refunds.carry_out(shop.engine, {"till": till}.__getitem__, payment_id)

    return make_batches(make_handlers(UNCACHED, send))


@pytest.fixture
def watch(shop: Shop, make_settings: MakeSettings) -> Callable[[], str]:
    """A round of the static job `money`."""

    def watch_once() -> str:
        with shop.engine.connect() as conn:
            now = conn.execute(select(database_now(conn))).scalar_one()
        context = Context(shop.engine, None, make_settings(), "me")  # type: ignore[arg-type]
        return watch_money(Run(context, now, now))

    return watch_once


def states(shop: Shop) -> list[str]:
    with shop.engine.connect() as conn:
        return [found.state for found in refunds.find_refunds(conn)]


def jobs(shop: Shop) -> list[Any]:
    return [job for job in shop.jobs() if job.kind == REFUND]


def make_due(shop: Shop) -> None:
    """As if the pause, or the loan, were over."""
    with transaction(shop.engine) as conn:
        past = database_now(conn)
        conn.execute(update(delayed_job).where(delayed_job.c.kind == REFUND).values(run_at=past))


def gauge(name: str, labels: Mapping[str, str] | None = None) -> float | None:
    return REGISTRY.get_sample_value(name, dict(labels or {}))


def test_what_is_owed_is_sent_through_the_provider_once(
    shop: Shop, owe: Owe, daemon: Batches, till: Till
) -> None:
    payment_id = owe()
    assert [job.ref for job in jobs(shop)] == [str(payment_id)]

    assert daemon.drain(REFUND) == 1
    assert daemon.drain(REFUND) == 0

    (repayment,) = till.repayments
    assert (repayment.payment_id, repayment.provider_ref) == (payment_id, f"ref-{payment_id}")
    assert (repayment.amount_cents, repayment.currency) == (100, "EUR")
    assert states(shop) == [State.SENT]
    assert jobs(shop) == []


def test_a_provider_that_is_away_is_asked_again_after_growing_pauses(
    shop: Shop, owe: Owe, daemon: Batches, till: Till
) -> None:
    owe()
    till.is_down = True
    pauses = []
    for _ in range(4):
        make_due(shop)
        assert daemon.drain(REFUND) == 0
        (job,) = jobs(shop)
        with shop.engine.connect() as conn:
            now = conn.execute(select(database_now(conn))).scalar_one()
        pauses.append((job.run_at - now).total_seconds())

    assert (job.attempts, job.state) == (4, "waiting")
    assert "the till is closed" in job.last_error
    assert pauses == sorted(pauses)
    assert 20 < pauses[-1] <= 40
    assert states(shop) == [State.OWED]
    till.is_down = False
    make_due(shop)
    assert daemon.drain(REFUND) == 1
    assert states(shop) == [State.SENT]


def test_the_pauses_add_up_to_hours_and_none_is_longer_than_four() -> None:
    pauses_s = [PATIENT.pause_s(n) for n in range(1, PATIENT.attempts)]

    assert 8 * 3600 < sum(pauses_s) < 12 * 3600
    assert max(pauses_s) == 4 * 3600


def test_what_cannot_be_sent_waits_on_a_persons_list_and_is_sent_by_command(
    shop: Shop,
    owe: Owe,
    daemon: Batches,
    till: Till,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    payment_id = owe()
    till.is_down = True
    for _ in range(PATIENT.attempts):
        make_due(shop)
        daemon.drain(REFUND)
    assert states(shop) == [State.DEAD]
    assert [job.state for job in jobs(shop)] == ["dead"]

    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", database_url)
    monkeypatch.setenv(f"{PREFIX}SECRET_KEYS", "k" * 32)
    monkeypatch.setattr("tidings.commands.refunds.make_provider", lambda _name, _site: till)
    listed = CliRunner().invoke(main, ("refunds", "list", "--json"))
    (row,) = [json.loads(line) for line in listed.stdout.splitlines()]
    assert (row["payment_id"], row["state"]) == (payment_id, "dead")
    assert "the till is closed" in row["error"]

    assert CliRunner().invoke(main, ("refunds", "retry")).exit_code == 1
    assert states(shop) == [State.DEAD], "still on the list"
    till.is_down = False
    sent = CliRunner().invoke(main, ("refunds", "retry", str(payment_id)))
    assert sent.exit_code == 0, sent.output
    assert states(shop) == [State.SENT]
    assert jobs(shop) == []


def test_a_daemon_that_dies_between_sending_and_marking_repeats_the_same_refund(
    shop: Shop, owe: Owe, daemon: Batches, till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    owe()

    class Killed(BaseException):
        """Nothing that follows is run, as after kill -9."""

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as until_killed:
        until_killed.setattr("tidings.shop.refunds.transaction", die)
        with pytest.raises(Killed):
            daemon.drain(REFUND)
    assert states(shop) == [State.OWED]
    assert daemon.drain(REFUND) == 0, "it is lent for a while"

    make_due(shop)
    assert daemon.drain(REFUND) == 1
    first, second = till.repayments
    assert first == second
    assert states(shop) == [State.SENT]


def test_no_transaction_is_open_while_the_provider_is_asked(
    shop: Shop, owe: Owe, till: Till, make_batches: MakeBatches, front: Shopfront
) -> None:
    """On SQLite it would be the one lock for writing."""
    owe()
    placed = []

    def send(payment_id: int) -> None:
        placed.append(front.order((2, 1)).status_code)
        refunds.carry_out(shop.engine, {"till": till}.__getitem__, payment_id)

    assert make_batches(make_handlers(UNCACHED, send)).drain(REFUND) == 1
    assert placed == [201]


def test_no_other_daemon_takes_a_refund_that_is_being_sent(
    shop: Shop, owe: Owe, daemon: Batches, till: Till, make_batches: MakeBatches
) -> None:
    owe()
    others = []

    def send(payment_id: int) -> None:
        others.append(daemon.drain(REFUND))
        refunds.carry_out(shop.engine, {"till": till}.__getitem__, payment_id)

    assert make_batches(make_handlers(UNCACHED, send)).drain(REFUND) == 1
    assert others == [0]
    assert len(till.repayments) == 1


def test_one_refund_that_cannot_be_sent_keeps_no_other_back(
    shop: Shop, owe: Owe, make_batches: MakeBatches, till: Till
) -> None:
    bad, *good = [owe() for _ in range(3)]

    def send(payment_id: int) -> None:
        if payment_id == bad:
            raise ValueError("nonsense")
        refunds.carry_out(shop.engine, {"till": till}.__getitem__, payment_id)

    assert make_batches(make_handlers(UNCACHED, send)).drain(REFUND) == 2
    assert [repayment.payment_id for repayment in till.repayments] == good


def test_refunds_of_before_are_promised_and_what_is_owed_is_counted(
    shop: Shop, owe: Owe, daemon: Batches, watch: Callable[[], str]
) -> None:
    """The version before wrote the row, and no job."""
    owe()
    owe()
    with transaction(shop.engine) as conn:
        conn.execute(delete(delayed_job).where(delayed_job.c.kind == REFUND))
        now = conn.execute(select(database_now(conn))).scalar_one()
        conn.execute(update(refund).values(created_at=now - timedelta(hours=2)))

    assert watch() == "2 refunds promised anew"
    assert gauge("tidings_refunds", {"state": "owed"}) == 2
    assert 7200 <= (gauge("tidings_refunds_oldest_owed_seconds") or 0) < 7260
    assert daemon.drain(REFUND) == 2
    assert watch() == "every refund that is owed is promised"
    assert gauge("tidings_refunds", {"state": "owed"}) == 0
    assert gauge("tidings_refunds", {"state": "sent"}) == 2
    assert gauge("tidings_refunds_oldest_owed_seconds") == 0


def test_callbacks_that_wait_for_a_person_are_counted(
    front: Shopfront, till: Till, watch: Callable[[], str]
) -> None:
    front.pay(front.order((1, 1)))
    front.call_back(tell(till.charges[-1], amount_cents=1))

    watch()

    assert gauge("tidings_payment_callbacks_open", {"verdict": "mismatch"}) == 1
    assert gauge("tidings_payment_callbacks_open", {"verdict": "unreadable"}) == 0


def test_refunds_are_found_page_by_page(shop: Shop, owe: Owe) -> None:
    owed = [owe() for _ in range(5)]
    found: list[int] = []
    after = None
    with shop.engine.connect() as conn:
        while page := refunds.find_refunds(conn, states=[State.OWED], limit=2, after=after):
            found += [row.payment_id for row in page]
            after = page[-1].created_at, page[-1].payment_id
        (count,) = refunds.count_refunds(conn)

    assert found == owed
    assert (count.state, count.number) == ("owed", 5)
