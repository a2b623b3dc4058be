"""A delayed job whose effect is outside of the database, such as money that a provider sends.

A batch would hold its transaction open, and on SQLite the one lock for writing, while a server
elsewhere answers. So an errand is lent for a while: its row is put off, that is committed, then it
is run, and only then is the row deleted. A daemon that dies in between leaves a row that is due
when the loan is over, so an errand must be one that may be done twice. Rejected: deleting the row
first; a daemon that died would have lost it.

    Errand(act=send_refund, give_up=give_up_refund)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from tidings.store.delayed_due import Backoff

# Others may be down for hours; in ten of them an operator has noticed.
PATIENT = Backoff(attempts=14, first_s=5, longest_s=4 * 3600)


@dataclass(frozen=True, slots=True)
class Errand:
    """What one kind of delayed job does, row by row.

    Attributes:
        act: does it, given the row's `ref`; may be called again for the same row.
        give_up: told, in the transaction that lets a row be dead, its `ref` and the last error.
        loan_s: for how long no other daemon takes the row; `act` is over in half of that.
    """

    act: Callable[[str], object]
    give_up: Callable[[Connection, str, str], object]
    loan_s: float = 60
    backoff: Backoff = PATIENT
