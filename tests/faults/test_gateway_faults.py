"""A gateway among crowds and rude clients; `make faults-gateway` does the same for longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.gateway_scenarios import SCENARIOS, run
from tests.faults.gateway_wire import Seen
from tests.lab.servers import MariaDBServer

LOAD_S = 4.0


@pytest.mark.long
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_reader_is_served_in_time_whatever_others_do(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """95 of 100 times, and told late once in 100; no memory is lost, and a refusal says when to
    come again."""

    def new_database() -> str:
        server: MariaDBServer = request.getfixturevalue("mariadb")
        return server.new_database()

    outcome = run(name, tmp_path, LOAD_S, new_database)

    assert not outcome.violations, f"{outcome}; logs in {tmp_path}"
    assert outcome.reader.asked > LOAD_S
    assert outcome.others.opened >= SCENARIOS[name].number * 0.9


def test_a_request_that_was_never_answered_counts_as_late() -> None:
    """The judge is not blind to a door that stays shut."""
    seen = Seen(asked=100, answered=90, served=89, late=2, late_by_gateway=1, unanswered=10)

    assert seen.served_share == 0.89
    assert seen.late_share == 0.12
    assert seen.failed == 11
