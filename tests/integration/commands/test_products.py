"""What is on sale is kept from the shell, and the books balance after any input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from tests.conftest import NOWHERE
from tests.lab.handlers import UNCACHED
from tidings.commands.main import main
from tidings.demo.illustrating import Shelf
from tidings.demo.load import EDITIONS, load_demo
from tidings.news.images import Images
from tidings.process.errors import PREFIX
from tidings.shop.stock import find_imbalances, find_products

Type = Callable[..., Result]


@pytest.fixture
def typed(database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Type:
    """`typed("products", "list")` at a shell of that site."""
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", database_url)
    monkeypatch.setenv(f"{PREFIX}REDIS_URL", f"redis://{NOWHERE}/0")

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, words)

    return run


def test_a_product_is_added_gets_stock_and_is_withdrawn(typed: Type, engine: Engine) -> None:
    """A delivery that is typed twice is booked once."""
    assert typed("products", "add", " Weekend, printed ", "--price-cents", "450").exit_code == 0
    first = typed("products", "receive", "1", "40", "--delivery", "7")
    again = typed("products", "receive", "1", "40", "--delivery", "7")
    listed = [json.loads(line) for line in typed("products", "list", "--json").stdout.splitlines()]

    assert first.output == "40 pieces of product 1 came in\n"
    assert again.output == "delivery 7 was booked before; nothing is changed\n"
    assert listed == [
        {
            "product_id": 1,
            "title": "Weekend, printed",
            "price_cents": 450,
            "currency": "EUR",
            "quantity": 40,
        }
    ]
    assert "4.50 EUR" in typed("products", "list").output

    assert typed("products", "withdraw", "1").exit_code == 0
    assert typed("products", "list", "--json").stdout == ""
    with engine.connect() as conn:
        assert find_imbalances(conn) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("add", "x", "--price-cents", "1", "--currency", "euro"),
            "expected a currency such as EUR, got 'euro'",
        ),
        (("add", "  ", "--price-cents", "1"), "expected a title of 1 to 255 characters, got 0"),
        (
            ("add", "x" * 256, "--price-cents", "1"),
            "expected a title of 1 to 255 characters, got 256",
        ),
        (("add", "x", "--price-cents", "0"), "0 is not in the range"),
        (("receive", "99", "1", "--delivery", "1"), "there is no product 99 on sale"),
        (("receive", "99", "0", "--delivery", "1"), "0 is not in the range"),
        (("withdraw", "99"), "there is no product 99 on sale"),
    ],
)
def test_what_cannot_be_is_said_in_words_and_changes_nothing(
    typed: Type, engine: Engine, words: tuple[str, ...], expected: str
) -> None:
    done = typed("products", *words)

    assert done.exit_code == 2
    assert expected in done.output
    with engine.connect() as conn:
        assert find_products(conn) == []


def test_the_demo_has_editions_on_sale(engine: Engine, tmp_path: Path) -> None:
    """So that an order can be tried by hand; loading it again adds no stock."""
    shelf = Shelf(Images(tmp_path), max_bytes=1)
    for _ in range(2):
        load_demo(engine, UNCACHED, shelf, lambda: 1_795_000_000_000, actor="shell:ada")
    with engine.connect() as conn:
        on_sale = [
            (found.title, found.price_cents, found.quantity) for found in find_products(conn)
        ]
        assert find_imbalances(conn) == []

    assert on_sale == EDITIONS
