"""How much one reader, or one address, may hold without paying for it.

What is held is counted in the transaction that wants more, so two orders of one reader must not
count at the same moment: each waits for its reader's turn, and its address's, before anything else.
A turn is a row of a table that never grows, found by a hash; two readers who share one wait for
each other for the length of a commit. Rejected: counters that are kept beside the orders, since
programs of the version before end orders and would never count one down.

    take_turns(conn, reader_id, address)
    check_caps(conn, caps, Wish(reader_id, address, pieces=2, cents=900, currency="EUR"))
"""

from __future__ import annotations

import zlib

import msgspec
from sqlalchemy import Connection, case, func, select

from tidings.shop.tables import order_line, order_turn, orders
from tidings.store.by_key import select_by_key

# As many rows as the migration has made. Two of a hundred orders at once seldom share one.
TURNS = 1024


class Caps(msgspec.Struct, frozen=True):
    """The most that may be held by orders that are not paid; 0 is no limit.

    Attributes:
        unpaid: orders of one reader.
        unpaid_per_address: orders that came from one network.
        pieces: of one reader, of all products together.
        cents: what they cost, of one reader, in each currency.
    """

    unpaid: int
    unpaid_per_address: int
    pieces: int
    cents: int


class Wish(msgspec.Struct, frozen=True):
    """What an order would add to what is held."""

    reader_id: int
    address: str | None
    pieces: int
    cents: int
    currency: str


class TooMuchHeldError(Exception):
    """This order would hold more than may be held without paying; the message says of what."""


def take_turns(conn: Connection, reader_id: int, address: str | None) -> None:
    """Wait until no other order of this reader, nor of this address, is being placed.

    The first thing a transaction does: what it reads afterwards, those others have committed.
    """
    names = [f"reader {reader_id}", *([f"address {address}"] if address else [])]
    turns = {zlib.crc32(name.encode()) % TURNS for name in names}
    # In the order of their ids, so that no two wait for each other.
    query = select_by_key(conn, order_turn, "id", turns, order_turn.c.id)
    conn.execute(query.with_for_update(of=order_turn)).all()


def check_caps(conn: Connection, caps: Caps, wish: Wish) -> None:
    """Let an order pass that stays within the caps.

    Raises:
        TooMuchHeldError: it would hold too much.
    """
    if caps.unpaid or caps.pieces or caps.cents:
        _check_reader(conn, caps, wish)
    if caps.unpaid_per_address and wish.address:
        mine = (orders.c.address == wish.address, orders.c.status == "unpaid")
        held = int(conn.scalar(select(func.count()).select_from(orders).where(*mine)) or 0)
        _allow(caps.unpaid_per_address, held, 1, "unpaid orders from one network")


def _check_reader(conn: Connection, caps: Caps, wish: Wish) -> None:
    price = case((orders.c.currency == wish.currency, order_line.c.n * order_line.c.price_cents))
    held = conn.execute(
        select(
            func.count(orders.c.id.distinct()).label("unpaid"),
            func.coalesce(func.sum(order_line.c.n), 0).label("pieces"),
            func.coalesce(func.sum(price), 0).label("cents"),
        )
        .join(order_line, order_line.c.order_id == orders.c.id)
        .where(orders.c.reader_id == wish.reader_id, orders.c.status == "unpaid")
    ).one()
    _allow(caps.unpaid, held.unpaid, 1, "unpaid orders of one reader")
    _allow(caps.pieces, int(held.pieces), wish.pieces, "pieces held by one reader's unpaid orders")
    what = f"hundredths of {wish.currency} held by one reader's unpaid orders"
    _allow(caps.cents, int(held.cents), wish.cents, what)


def _allow(most: int, held: int, wanted: int, what: str) -> None:
    if most and held + wanted > most:
        raise TooMuchHeldError(
            f"at most {most} {what}: there are {held}, and this order would add {wanted}; "
            "pay or cancel one, or wait until it expires"
        )
