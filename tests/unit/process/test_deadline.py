"""A deadline is set once at the door and asked by everything behind it, though the wall clock may
jump."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tidings.process.deadline import (
    Deadline,
    DeadlineExceededError,
    current_deadline,
    deadline_scope,
)


@pytest.fixture
def monotonic_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock: one number, to be moved."""
    now_s = [1000.0]
    monkeypatch.setattr("tidings.process.deadline.time.monotonic", lambda: now_s[0])
    return now_s


def test_what_is_left_shrinks_and_goes_below_zero(monotonic_s: list[float]) -> None:
    """Milliseconds left, negative once the moment has passed."""
    deadline = Deadline.after_ms(250)
    left = [deadline.remaining_ms()]
    for step_s in (0.1, 0.15, 0.05):
        monotonic_s[0] += step_s
        left.append(deadline.remaining_ms())

    assert left == pytest.approx([250, 150, 0, -50])


def test_a_deadline_that_has_passed_is_refused(monotonic_s: list[float]) -> None:
    """Up to the very moment there is time; from it on there is none."""
    deadline = Deadline.after_ms(250)
    monotonic_s[0] += 0.249
    deadline.check()
    monotonic_s[0] = deadline

    with pytest.raises(DeadlineExceededError):
        deadline.check()


def test_a_corrected_wall_clock_moves_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap: a deadline kept in wall time lasts an hour when the clock is set back by one."""
    deadline = Deadline.after_ms(60_000)
    monkeypatch.setattr(time, "time", lambda: 0.0)

    assert 0 < deadline.remaining_ms() <= 60_000


def test_nobody_has_a_deadline_until_one_is_set() -> None:
    """Inside the block it is the current one, an inner block's wins, and afterwards all is as
    before."""
    outer, inner = Deadline.after_ms(500), Deadline.after_ms(100)
    assert current_deadline() is None
    with deadline_scope(outer):
        assert current_deadline() is outer
        with deadline_scope(inner):
            assert current_deadline() is inner
        with deadline_scope(None):
            assert current_deadline() is None
        assert current_deadline() is outer

    assert current_deadline() is None


def _fail_inside(deadline: Deadline) -> None:
    with deadline_scope(deadline):
        raise KeyError("inside")


def test_a_failure_inside_the_block_leaves_no_deadline_behind() -> None:
    """The next request of the same thread must not inherit it."""
    with pytest.raises(KeyError):
        _fail_inside(Deadline.after_ms(500))

    assert current_deadline() is None


def test_another_thread_has_a_deadline_of_its_own() -> None:
    """Two requests in two threads share nothing."""
    with deadline_scope(Deadline.after_ms(500)), ThreadPoolExecutor(1) as pool:
        assert pool.submit(current_deadline).result(10) is None
