"""The breaker: opens after failures in a row, then lets one caller a while through."""

from __future__ import annotations

import pytest

from tidings.process.breaker import Breaker


class Stopwatch:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def stopwatch() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def breaker(stopwatch: Stopwatch) -> Breaker:
    return Breaker(opens_after=3, rest_s=1.0, monotonic=stopwatch)


def test_it_stays_closed_below_its_number_of_failures(breaker: Breaker) -> None:
    breaker.failed()
    breaker.failed()

    assert breaker.allows()


def test_only_failures_in_a_row_count(breaker: Breaker) -> None:
    for _ in range(10):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()

    assert breaker.allows()


def test_once_open_one_caller_a_rest_is_let_through(breaker: Breaker, stopwatch: Stopwatch) -> None:
    for _ in range(3):
        breaker.failed()

    assert not breaker.allows()
    stopwatch.now_s += 1.0
    assert [breaker.allows() for _ in range(5)] == [True, False, False, False, False]


def test_a_try_that_succeeds_closes_it(breaker: Breaker, stopwatch: Stopwatch) -> None:
    for _ in range(3):
        breaker.failed()
    stopwatch.now_s += 1.0
    assert breaker.allows()

    breaker.succeeded()

    assert all(breaker.allows() for _ in range(5))
