"""Readers who chat through two nodes, under every fault we know; `make faults-chat` does the same
for longer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.chat_mutants import MUTANTS, make_mutant
from tests.faults.chat_scenarios import SCENARIOS, Opened, find_mistake, open_site, run

pytestmark = pytest.mark.long

LOAD_S = 2.0
SOCKETS = 500


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """For all faults that take no others."""
    with open_site(tmp_path_factory.mktemp("chat"), SCENARIOS["no fault"]) as opened:
        yield opened


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_nor_shown_twice_and_all_is_in_order(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each message that was acknowledged is stored, and each that is stored was shown to all who
    are to see it, once."""
    scenario = SCENARIOS[name]
    with ExitStack() as stack:
        opened: Opened = (
            request.getfixturevalue("two_nodes")
            if scenario.is_usual
            else stack.enter_context(open_site(tmp_path, scenario))
        )
        outcome = run(name, opened, LOAD_S, sockets=SOCKETS)

    assert not outcome.violations, f"{outcome}; logs in {opened.site.folder}"
    assert outcome.acked > 20
    assert outcome.turned_away
    assert outcome.faults or name == "no fault"


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistake_that_people_make_is_caught(name: str, tmp_path: Path) -> None:
    """The ledgers are not blind: each of these programs breaks the promise that it is known for."""
    mutant = MUTANTS[name]
    tree = make_mutant(name, tmp_path / "tree")

    with open_site(tmp_path, SCENARIOS[mutant.scenario], tree=tree) as opened:
        outcome = find_mistake(mutant, opened, LOAD_S)

    assert outcome is not None
