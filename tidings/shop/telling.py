"""What readers are told of their orders and their money, and operators of money that is stuck.

Each is written in the transaction that makes it true, so there is a notice exactly where there is
the change: an order that a job cancels twice is cancelled once, and told once. Rejected: telling
after the commit; a daemon that dies in between would leave a reader who waits for an order that is
gone.

    notify_many(conn, [order_cancelled(order, why="expired") for order in due])
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Row

from tidings.process.clock import milliseconds
from tidings.talk.notices import OPERATORS, Draft, NoticeType


class Owed(Protocol):
    """Money that goes back, or should."""

    @property
    def payment_id(self) -> int: ...
    @property
    def order_id(self) -> int: ...
    @property
    def amount_cents(self) -> int: ...
    @property
    def currency(self) -> str: ...


def order_paid(order: Row[Any]) -> Draft:
    """Tell its reader that an order, a row of the table, is paid."""
    return Draft(
        audience=order.reader_id,
        type=NoticeType.ORDER_PAID,
        subject=_name(order.id),
        data={
            "order_id": order.id,
            "amount_cents": order.total_cents,
            "currency": order.currency,
        },
    )


def order_expiring(order: Row[Any], *, expires_at: datetime) -> Draft:
    """Tell its reader when an order is cancelled that is not paid yet. Once, however often the
    order is looked at."""
    return Draft(
        audience=order.reader_id,
        type=NoticeType.ORDER_EXPIRING,
        subject=_name(order.id),
        data={"order_id": order.id, "expires_at": milliseconds(expires_at)},
        once=f"order_expiring:{order.id}",
    )


def order_cancelled(order: Row[Any], *, why: str) -> Draft:
    """Tell its reader that an order was cancelled.

    Args:
        order: the row.
        why: `expired` or `by_reader`.
    """
    return Draft(
        audience=order.reader_id,
        type=NoticeType.ORDER_CANCELLED,
        subject=_name(order.id),
        data={"order_id": order.id, "why": why},
    )


def refund_sent(refund: Owed, *, reader_id: int) -> Draft:
    """Tell the reader who paid that the money went back. Once, though a refund may be sent
    twice."""
    return Draft(
        audience=reader_id,
        type=NoticeType.REFUND_SENT,
        subject=_name(refund.order_id),
        data=_money(refund),
        once=f"refund_sent:{refund.payment_id}",
    )


def refund_dead(refund: Owed) -> Draft:
    """Tell operators that money which is owed could not be sent back."""
    return Draft(
        audience=OPERATORS,
        type=NoticeType.REFUND_DEAD,
        subject=f"refund:{refund.payment_id}",
        data=_money(refund) | {"payment_id": refund.payment_id},
        group="refund_dead",
    )


def payment_mismatched(*, provider: str, verdict: str, event_id: str) -> Draft:
    """Tell operators that a provider's callback does not fit what was asked for."""
    return Draft(
        audience=OPERATORS,
        type=NoticeType.PAYMENT_MISMATCHED,
        subject=f"provider:{provider}",
        data={"provider": provider, "verdict": verdict, "event_id": event_id},
        group=f"payment_mismatched:{provider}",
    )


def _name(order_id: int) -> str:
    return f"order:{order_id}"


def _money(refund: Owed) -> dict[str, Any]:
    return {
        "order_id": refund.order_id,
        "amount_cents": refund.amount_cents,
        "currency": refund.currency,
    }
