"""The programs of a site as processes of a test, with `bank` among their providers, and with a
mistake that people make if one is named: `python -m tests.faults.money_processes PROGRAM MISTAKE`.

A mistake replaces one function of the shop by a wrong one before the program starts, so that
right and wrong ones run the same way. Rejected: wrong copies of whole programs, which would no
longer be what is shipped.

    python -m tests.faults.money_processes gateway marks_first
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from tidings.shop import providers


def put(module: ModuleType, **wrong: object) -> None:
    """Other programs' functions in place of a module's own, by their names."""
    vars(module).update(wrong)


def never_looks_again() -> None:
    """A retry is taken for a new order."""
    from tidings.shop import orders

    put(orders, _find_by_key=lambda *_, **__: None)


def reads_then_writes() -> None:
    """Takes stock by writing what is left of the quantity that it has read."""
    from sqlalchemy import insert, select, update

    from tidings.shop import stock
    from tidings.shop.tables import sku, stock_move
    from tidings.store.engine import database_now

    def take(conn: Any, order_id: int, wanted: Any) -> None:
        for id_, n in sorted(wanted.items()):
            left = conn.scalar(select(sku.c.quantity).where(sku.c.id == id_)) - n
            if left < 0:
                raise stock.OutOfStockError(id_)
            move = {"order_id": order_id, "sku_id": id_, "kind": "hold", "n": -n}
            conn.execute(insert(stock_move).values(at=database_now(conn), **move))
            conn.execute(update(sku).where(sku.c.id == id_).values(quantity=left))

    put(stock, take=take)


def marks_first() -> None:
    """Marks a refund as sent, and then sends it."""
    from sqlalchemy import update

    from tidings.shop import refunds
    from tidings.shop.tables import refund
    from tidings.store.engine import transaction

    send = refunds.send

    def mark_and_send(engine: Any, provider: Any, owed: Any) -> None:
        with transaction(engine) as conn:
            mine = refund.c.payment_id == owed.payment_id
            conn.execute(update(refund).where(mine).values(state="sent"))
        send(engine, provider, owed)

    put(refunds, send=mark_and_send)


def judges_again() -> None:
    """Takes a repeated callback for a new one; its order is paid by then, so money seems to be
    owed."""
    from sqlalchemy.exc import IntegrityError

    from tidings.shop import callbacks, payments

    change, record = payments._change, callbacks.record

    def change_always(*arguments: Any) -> bool:
        change(*arguments)
        return True

    def record_once(conn: Any, *arguments: Any, **named: Any) -> None:
        try:
            with conn.begin_nested():
                record(conn, *arguments, **named)
        except IntegrityError:
            pass

    put(callbacks, find_told=lambda *_: None, record=record_once)
    put(payments, _change=change_always)


def forgets_callbacks() -> None:
    """Does what a callback says and keeps no word of it."""
    from tidings.shop import callbacks

    put(callbacks, record=lambda *_, **__: None)


def believes_callbacks() -> None:
    """Compares nothing of a callback with what was asked for."""
    from sqlalchemy import select

    from tidings.shop import payments
    from tidings.shop.callbacks import Verdict
    from tidings.shop.tables import payment

    def judge(conn: Any, _provider: str, callback: Any) -> tuple[Verdict, None]:
        row = conn.execute(select(payment).where(payment.c.id == callback.payment_id)).first()
        act = payments._ACTS.get(callback.type)
        return (act(conn, row) if act and row else Verdict.NOTED), None

    put(payments, _judge=judge)


def writes_behind() -> None:
    """Answers that an order is cancelled, and writes it down when five others have been since."""
    from msgspec.structs import replace

    from tidings.shop import orders

    cancel = orders.cancel
    waiting: dict[int, tuple[Any, int]] = {}

    def cancel_later(engine: Any, reader_id: int, order_id: int) -> Any:
        with engine.connect() as conn:
            order = orders.read_order(conn, reader_id, order_id)
        if order.status != "unpaid":
            return cancel(engine, reader_id, order_id)
        waiting[order_id] = (engine, reader_id)
        if len(waiting) > 5:
            first_id = next(iter(waiting))
            cancel(*waiting.pop(first_id), first_id)
        return replace(order, status="cancelled", cancelled_for="by_reader")

    put(orders, cancel=cancel_later)


def never_expires() -> None:
    """Forgets an order whose time is up, since it was not asked for again."""
    import jobs.handlers

    put(jobs.handlers, expire_orders=lambda *_: {})


def hasten_refunds() -> None:
    """No mistake: what is tried again for hours is tried again for seconds, and what a killed
    daemon had in hand is taken up as soon."""
    from functools import partial

    import jobs.handlers
    from jobs.errands import Errand
    from tidings.store.delayed_due import Backoff

    backoff = Backoff(attempts=4, first_s=0.5, longest_s=2)
    put(jobs.handlers, Errand=partial(Errand, backoff=backoff, loan_s=3))


MISTAKES: dict[str, Callable[[], None]] = {
    mistake.__name__: mistake
    for mistake in (
        never_looks_again,
        reads_then_writes,
        marks_first,
        judges_again,
        forgets_callbacks,
        believes_callbacks,
        writes_behind,
        never_expires,
    )
}


def main() -> None:
    """Run one of the site's programs."""
    program, mistake, *arguments = sys.argv[1:]
    providers.__path__.append(str(Path(__file__).with_name("providers")))
    if mistake:
        MISTAKES[mistake]()
    if program == "jobs":
        hasten_refunds()
    sys.argv = [program, *arguments]
    runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
