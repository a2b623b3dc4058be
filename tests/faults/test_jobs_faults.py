"""Orders, payments and expiry under every fault we know, and five wrong daemons that must be
caught.

Short by default; `FULL=1` gives each scenario forty seconds. `SEED=n` repeats a run; the seed is
printed with every failure.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.scenarios import SCENARIOS, TEETH, run
from tests.faults.world import FakedClockMariaDB, servers
from tests.lab.servers import RedisServer

Site = tuple[FakedClockMariaDB, RedisServer]

IS_LONG = bool(os.environ.get("FULL"))
# Not the shared generator: pytest-randomly has seeded it, and would make this the same number every
# time.
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with servers() as started:
        yield started


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_fault_changes_anything(name: str, site: Site, tmp_path: Path) -> None:
    violations = run(name, *site, seed=SEED, folder=tmp_path, is_long=IS_LONG)

    assert not violations, f"SEED={SEED} {name}: {dict(violations)}; logs in {tmp_path}"


@pytest.mark.parametrize("mistake", TEETH)
def test_each_wrong_daemon_is_caught(mistake: str, site: Site, tmp_path: Path) -> None:
    violations = run(mistake, *site, seed=SEED, folder=tmp_path, is_long=IS_LONG)

    assert violations, f"SEED={SEED}: a daemon that is wrong by `{mistake}` passed for right"
