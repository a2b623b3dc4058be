"""Readers who chat through two nodes, under every fault we know; `make faults-chat` does the same
for longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.chat_mutants import MUTANTS, make_mutant
from tests.faults.chat_scenarios import SCENARIOS, run
from tests.lab.servers import start_mariadb, start_redis

pytestmark = pytest.mark.long

LOAD_S = 2.0
SOCKETS = 500


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_nor_shown_twice_and_all_is_in_order(name: str, tmp_path: Path) -> None:
    """Each message that was acknowledged is stored, and each that is stored was shown to all who
    are to see it, once."""
    with start_mariadb() as database, start_redis() as redis:
        outcome = run(name, tmp_path, LOAD_S, (database, redis), sockets=SOCKETS)

    assert not outcome.violations, f"{outcome}; logs in {tmp_path}"
    assert outcome.acked > 20
    assert outcome.turned_away
    assert outcome.faults or name == "no fault"


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistake_that_people_make_is_caught(name: str, tmp_path: Path) -> None:
    """The ledgers are not blind: each of these programs breaks the promise that it is known for."""
    mutant = MUTANTS[name]
    tree = make_mutant(name, tmp_path / "tree")
    with start_mariadb() as database, start_redis() as redis:
        outcome = run(mutant.scenario, tmp_path, LOAD_S, (database, redis), sockets=0, tree=tree)

    assert set(mutant.breaks) & set(outcome.violations), outcome
