"""Orders, payments and refunds under kills and a provider who fails and repeats, and programs with
mistakes that must be noticed; `make faults-gateway` does the same ten times as long.

`SEED=n` repeats a run; the seed is printed with every failure.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.money_processes import MISTAKES
from tests.faults.money_scenarios import BY_SETTINGS, SCENARIOS, TEETH, run
from tests.lab.servers import MariaDBServer, RedisServer, start_mariadb, start_redis

Servers = tuple[MariaDBServer, RedisServer]

# Of 250 rounds of equal orders and 2,000 mixed operations.
SCALE = 0.1
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with start_mariadb() as database, start_redis("--appendonly", "yes") as redis_server:
        yield database, redis_server


@pytest.mark.parametrize("name", SCENARIOS)
def test_money_and_stock_come_out_right(name: str, servers: Servers, tmp_path: Path) -> None:
    trial = run(name, *servers, seed=SEED, folder=tmp_path, scale=SCALE)

    assert not trial.found, f"SEED={SEED} {trial.tell()}; logs in {tmp_path}"


@pytest.mark.parametrize("mistake", TEETH)
def test_each_mistake_is_noticed(mistake: str, servers: Servers, tmp_path: Path) -> None:
    trial = run(mistake, *servers, seed=SEED, folder=tmp_path, scale=SCALE)

    assert trial.found[TEETH[mistake].invariant], f"SEED={SEED} {trial.tell()}"


def test_each_mistake_has_a_scenario() -> None:
    assert set(TEETH) == {*MISTAKES, *BY_SETTINGS}
