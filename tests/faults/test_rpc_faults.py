"""Two recommenders under load and under every fault we know; `make faults-rpc` does the same for
longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.rpc_scenarios import FAULTS, NETWORK_FAULTS, can_split_networks, run

pytestmark = pytest.mark.long

LOAD_S = 4.0
HERE = [*FAULTS, *(NETWORK_FAULTS if can_split_networks() else ())]


@pytest.mark.parametrize("name", HERE)
def test_no_answer_is_wrong_and_no_call_lost_that_need_not_be(name: str, tmp_path: Path) -> None:
    """Whose answer it is, whether it is whole, new and in time; and how many calls the fault has
    cost."""
    outcome = run(name, tmp_path, LOAD_S)

    assert not outcome.violations, (
        f"{dict(outcome.violations)}; lost: {dict(outcome.seen.lost)}; logs in {tmp_path}"
    )
    assert outcome.faults
    assert outcome.seen.answered > 100
