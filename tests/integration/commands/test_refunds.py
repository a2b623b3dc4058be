"""`tidings refunds`: what is owed is seen, and sent back once."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, insert
from structlog.testing import capture_logs

from tests.conftest import NOWHERE
from tests.lab.shop import ANYBODY
from tidings.commands.main import main
from tidings.process.errors import PREFIX
from tidings.shop import payments, providers, stock
from tidings.shop.callbacks import Verdict
from tidings.shop.orders import Event, Line, Order, advance, place
from tidings.shop.providers import Callback, Repayment
from tidings.shop.providers.sandbox import Manners, SandboxProvider
from tidings.shop.refunds import State, carry_out, find_refunds
from tidings.shop.tables import sku
from tidings.store.engine import transaction

Type = Callable[..., Result]


class Purse(SandboxProvider):
    """The sandbox with good manners, which remembers what it gave back."""

    def __init__(self) -> None:
        super().__init__(lambda _: True, manners=Manners(unreachable=0.0))
        self.given_back: list[Repayment] = []
        self.is_away = False

    def refund(self, repayment: Repayment) -> None:
        if self.is_away:
            raise providers.ProviderUnavailableError("it cannot be reached")
        super().refund(repayment)
        self.given_back.append(repayment)


@pytest.fixture
def purse(monkeypatch: pytest.MonkeyPatch) -> Purse:
    purse = Purse()
    monkeypatch.setattr(
        "tidings.commands.refunds.make_provider", lambda name, _site: {"sandbox": purse}[name]
    )
    return purse


@pytest.fixture
def typed(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Type:
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", database_url)
    monkeypatch.setenv(f"{PREFIX}REDIS_URL", f"redis://{NOWHERE}/0")
    monkeypatch.setenv(f"{PREFIX}SECRET_KEYS", "k" * 32)

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, ("refunds", *words))

    return run


def pay_too_late(engine: Engine, purse: Purse, key: str) -> Order:
    """An order that was cancelled between the payment's start and its success."""
    order = place(engine, 7, [Line(product_id=1, quantity=1)], key=key, timeout_s=1800, **ANYBODY)
    started = payments.start(engine, purse, 7, order.order_id)
    with transaction(engine) as conn:
        advance(conn, order.order_id, Event.CANCEL)
    success = Callback(
        event_id=key,
        type="payment.succeeded",
        payment_id=started.payment_id,
        provider_ref=f"sandbox-{started.payment_id}",
        amount_cents=order.total_cents,
        currency=order.currency,
    )
    assert payments.settle(engine, success, provider="sandbox") is Verdict.REFUNDED
    return order


@pytest.fixture
def owed(engine: Engine, purse: Purse) -> list[Order]:
    with transaction(engine) as conn:
        product = {"title": "Weekend", "price_cents": 450, "currency": "EUR", "quantity": 0}
        conn.execute(insert(sku).values(id=1, **product))
        stock.receive(conn, 1, 10, delivery=1)
    return [pay_too_late(engine, purse, key) for key in ("first", "second")]


def states(engine: Engine) -> list[str]:
    with engine.connect() as conn:
        return [refund.state for refund in find_refunds(conn)]


def test_what_is_owed_is_listed_and_sent_back_once(
    typed: Type, engine: Engine, owed: list[Order], purse: Purse
) -> None:
    listed = [json.loads(line) for line in typed("list", "--json").stdout.splitlines()]
    assert [row["order_id"] for row in listed] == [order.order_id for order in owed]
    assert {row["provider_ref"] for row in listed} == {"sandbox-1", "sandbox-2"}
    assert "4.50 EUR" in typed("list").output

    sent = typed("retry")

    assert sent.exit_code == 0, sent.output
    assert sent.output == ("payment 1: 4.50 EUR sent back\npayment 2: 4.50 EUR sent back\n")
    assert [repayment.payment_id for repayment in purse.given_back] == [1, 2]
    assert states(engine) == [State.SENT, State.SENT]
    assert typed("retry").output == "nothing is owed\n"
    assert typed("list").output == "nothing is owed; --all shows what was sent\n"
    assert typed("list", "--json").output == ""
    assert "sent" in typed("list", "--all").output
    assert len(purse.given_back) == 2


def test_a_refund_that_was_sent_is_a_line_in_the_log(
    engine: Engine, owed: list[Order], purse: Purse
) -> None:
    with engine.connect() as conn:
        refund = find_refunds(conn)[0]
    with capture_logs() as logged:
        carry_out(engine, lambda _: purse, refund.payment_id)

    (line,) = [line for line in logged if line["event"] == "refund_sent"]
    assert (line["log_level"], line["payment_id"]) == ("info", refund.payment_id)
    assert (line["order_id"], line["amount_cents"]) == (owed[0].order_id, 450)


@pytest.mark.usefixtures("engine")
def test_before_any_refund_that_is_what_is_said(typed: Type) -> None:
    assert typed("list", "--all").output == "nothing was ever owed\n"


def test_one_refund_is_sent_by_its_payment(
    typed: Type, engine: Engine, owed: list[Order], purse: Purse
) -> None:
    assert typed("retry", "2").exit_code == 0
    assert states(engine) == [State.OWED, State.SENT]

    again = typed("retry", "2")

    assert again.exit_code == 2
    assert "no refund is owed for payment 2" in again.output
    assert len(purse.given_back) == 1


def test_a_provider_that_is_away_leaves_it_owed_and_says_so(
    typed: Type, engine: Engine, owed: list[Order], purse: Purse
) -> None:
    purse.is_away = True

    failed = typed("retry")

    assert failed.exit_code == 1
    assert failed.output.count("still owed: it cannot be reached") == 2
    assert states(engine) == [State.OWED, State.OWED]
    purse.is_away = False
    assert typed("retry").exit_code == 0
