"""The budget that retries come out of."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tidings.rpc.calling.policy import Policy, RetryBudget


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_s = [1000.0]
    monkeypatch.setattr(
        "tidings.rpc.calling.policy.time", SimpleNamespace(monotonic=lambda: now_s[0])
    )
    return now_s


def _takes(budget: RetryBudget) -> int:
    taken = 0
    while budget.take():
        taken += 1
    return taken


def test_calls_earn_a_fifth_of_a_retry(clock: list[float]) -> None:
    """A service in trouble gets at most 20 % more work."""
    budget = RetryBudget(Policy(retries_per_s=0, retry_ratio=0.2))
    _takes(budget)

    for _ in range(5):
        budget.count_call()

    assert _takes(budget) == 1


def test_seconds_earn_a_few_more(clock: list[float]) -> None:
    """A client with few calls may retry too."""
    budget = RetryBudget(Policy(retries_per_s=10, retry_ratio=0))
    _takes(budget)
    clock[0] += 0.5

    assert _takes(budget) == 5


def test_nothing_is_saved_up_for_long(clock: list[float]) -> None:
    """After a quiet hour a failure is not answered with thousands of retries."""
    budget = RetryBudget(Policy(retries_per_s=10, retry_ratio=0.2))
    clock[0] += 3600
    for _ in range(10_000):
        budget.count_call()

    assert _takes(budget) == 100
