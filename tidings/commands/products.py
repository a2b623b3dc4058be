"""`tidings products`: what is on sale, what came in, what is sold no longer.

A team has few products and changes them rarely, so they are kept from the shell and need no page of
their own.

    tidings products receive 1 40 --delivery 2026001
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy import Connection

from tidings.commands.printing import ID, json_option, print_json, print_table
from tidings.process.errors import CannotStartError
from tidings.process.settings import load_settings
from tidings.shop import stock
from tidings.store.engine import transaction
from tidings.store.opening import open_database


@click.group()
def products() -> None:
    """Keep what is on sale: paid editions, and how many there are."""


@products.command("list")
@json_option
def list_products(*, as_json: bool) -> None:
    """Print what is on sale, with what is free to be ordered."""
    with _transaction() as conn:
        rows = list(_all(conn))
    if as_json:
        print_json(rows)
        return
    cells = [
        (
            str(row.product_id),
            f"{row.price_cents / 100:.2f} {row.currency}",
            str(row.quantity),
            row.title,
        )
        for row in rows
    ]
    print_table(("id", "price", "free", "title"), cells)


@products.command()
@click.argument("title")
@click.option(
    "--price-cents", type=click.IntRange(1, 10_000_000), required=True, help="Of one piece."
)
@click.option("--currency", default="EUR", show_default=True, help="Three capital letters.")
def add(title: str, price_cents: int, currency: str) -> None:
    """Put a new product on sale. It has no stock yet."""
    try:
        with _transaction() as conn:
            id_ = stock.add_product(conn, title, price_cents, currency=currency)
    except ValueError as ex:
        raise click.BadParameter(str(ex)) from None
    click.echo(
        f"product {id_}; `tidings products receive {id_} PIECES --delivery NUMBER` brings its stock"
    )


@products.command()
@click.argument("product_id", metavar="ID", type=ID)
@click.argument("pieces", type=click.IntRange(1, 1_000_000))
@click.option(
    "--delivery",
    type=click.IntRange(1, ID.max),
    required=True,
    help="The delivery's number; booked once.",
)
def receive(product_id: int, pieces: int, delivery: int) -> None:
    """Add a delivery of PIECES to a product's stock. The same delivery again changes nothing."""
    with _transaction() as conn:
        booked = stock.receive(conn, product_id, pieces, delivery=delivery)
    click.echo(
        f"{pieces} pieces of product {product_id} came in"
        if booked
        else f"delivery {delivery} was booked before; nothing is changed"
    )


@products.command()
@click.argument("product_id", metavar="ID", type=ID)
def withdraw(product_id: int) -> None:
    """Sell a product no longer. Orders that have it are not touched."""
    with _transaction() as conn:
        stock.withdraw(conn, product_id)
    click.echo(f"product {product_id} is withdrawn")


def _all(conn: Connection) -> Iterator[stock.Product]:
    after_id = 0
    while page := stock.find_products(conn, after_id=after_id):
        yield from page
        after_id = page[-1].product_id


@contextmanager
def _transaction() -> Iterator[Connection]:
    engine = open_database(load_settings())
    try:
        with transaction(engine) as conn:
            yield conn
    except stock.ProductNotFoundError as ex:
        raise CannotStartError(str(ex)) from None
    finally:
        engine.dispose()
