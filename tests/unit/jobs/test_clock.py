"""The clock guard: a jump of the database's clock holds everything, a slow answer or a drift does
not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from jobs.delayed.clock_guard import ClockGuard

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Clocks:
    """Both clocks, to be moved by hand."""

    def __init__(self) -> None:
        self.steady_s = 1000.0
        self.database = START

    def pass_s(self, seconds: float) -> None:
        self.steady_s += seconds
        self.database += timedelta(seconds=seconds)


def make() -> tuple[Clocks, ClockGuard]:
    clocks = Clocks()
    guard = ClockGuard(lambda: clocks.steady_s)
    assert guard.accepts(clocks.database)
    return clocks, guard


@given(st.sampled_from([-1, 1]), st.integers(6, 10**7))
def test_a_jump_either_way_holds_and_its_return_releases(sign: int, jump_s: int) -> None:
    clocks, guard = make()
    clocks.pass_s(1)
    clocks.database += timedelta(seconds=sign * jump_s)
    assert not guard.accepts(clocks.database)
    clocks.pass_s(3600)
    assert not guard.accepts(clocks.database), (
        "an hour of patience does not make a wrong clock right"
    )
    clocks.database -= timedelta(seconds=sign * jump_s)
    assert guard.accepts(clocks.database)
    assert not guard.is_held


@given(st.lists(st.floats(-0.9, 0.9), max_size=300))
def test_drift_is_followed(slews_s: list[float]) -> None:
    clocks, guard = make()
    for slew_s in slews_s:
        clocks.pass_s(1)
        clocks.database += timedelta(seconds=slew_s)
        assert guard.accepts(clocks.database)


def test_an_answer_that_took_a_minute_is_not_a_jump() -> None:
    """A frozen process reads a clock, sleeps, and looks at the reading a minute later."""
    clocks, guard = make()
    asked_at_s, answer = clocks.steady_s, clocks.database
    clocks.pass_s(60)
    assert guard.accepts(answer, asked_at_s)
    assert guard.accepts(clocks.database)


def test_a_first_answer_that_took_a_minute_is_not_a_jump_of_the_second() -> None:
    """A daemon that was frozen in its first look must not take every later reading for a jump, and
    run nothing more."""
    clocks = Clocks()
    guard = ClockGuard(lambda: clocks.steady_s)
    asked_at_s, answer = clocks.steady_s, clocks.database
    clocks.pass_s(60)
    assert guard.accepts(answer, asked_at_s)
    assert guard.accepts(clocks.database)
    clocks.database += timedelta(seconds=6)
    assert not guard.accepts(clocks.database), "and from then on a jump is one"
