"""docs/security.md names the tests that prove each of its rules; what it names has to be there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text()
RISK = re.compile(r"^### (API\d+) ([^\n]+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
RISKS = {name: text for name, _, text in RISK.findall(PAGE)}


def missing(text: str) -> list[str]:
    """The tests that a text names and that no file has."""
    gone = []
    for path, name in TEST.findall(text):
        tree = (
            ast.parse((ROOT / path).read_text()) if (ROOT / path).exists() else ast.Module([], [])
        )
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        if name not in functions:
            gone.append(f"{path}::{name}")
    return gone


def test_each_of_the_ten_risks_has_a_section() -> None:
    assert list(RISKS) == [f"API{number}" for number in range(1, 11)]


@pytest.mark.parametrize("risk", RISKS)
def test_a_rule_is_said_and_every_test_that_proves_it_exists(risk: str) -> None:
    text = RISKS[risk]

    assert len(TEST.findall(text)) >= 2
    assert len(TEST.sub("", text).split()) > 20
    assert missing(text) == []


def test_no_other_test_is_named_that_is_not_there() -> None:
    assert len(TEST.findall(PAGE)) == PAGE.count(".py::")
    assert missing(PAGE) == []


def test_an_invented_test_would_be_noticed() -> None:
    named = "`tests/unit/test_security.py::test_that_is_not_there`, `tests/unit/gone.py::test_x`"

    assert len(missing(named)) == 2
