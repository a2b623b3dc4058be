"""One reader's calls take turns: one at a time, a bounded queue, and a share of the time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from services.recommender.turns import (
    LONGEST_PAUSE_S,
    PACED_SHARE,
    UNPACED,
    ReaderBusyError,
    Turns,
)
from tidings.process.deadline import Deadline, deadline_scope

READER = 7


class Watch:
    """A clock that moves only when it is told, and what was slept."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept_s: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)


def test_one_call_of_a_reader_is_served_at_a_time_and_none_is_lost() -> None:
    turns, inside, most = Turns(16), 0, []
    at_once = Barrier(16)

    def call(_: int) -> None:
        nonlocal inside
        at_once.wait(60)
        with turns.of(READER):
            inside += 1
            most.append(inside)
            inside -= 1

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(call, range(16)))

    assert most == [1] * 16


def test_one_more_than_may_wait_is_refused_and_others_are_not() -> None:
    """Nor is that reader, once a place is free."""
    turns, inside, go_on = Turns(2), Event(), Event()

    def call() -> None:
        with turns.of(READER):
            inside.set()
            go_on.wait(60)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(call)
        assert inside.wait(60)
        second = pool.submit(call)
        while len(turns._queues[READER].calls) < 2:
            pass
        with pytest.raises(ReaderBusyError) as caught, turns.of(READER):
            pass
        with turns.of(READER + 1):
            pass
        go_on.set()
        first.result(60)
        second.result(60)

    assert caught.value.hold_back_s > 0
    with turns.of(READER):
        pass
    assert turns._queues == {}


def test_a_turn_that_does_not_come_in_time_is_refused() -> None:
    turns = Turns(4)

    def wait_for_it() -> None:
        with deadline_scope(Deadline.after_ms(20)), turns.of(READER):
            pass

    with turns.of(READER), ThreadPoolExecutor(1) as pool, pytest.raises(ReaderBusyError):
        pool.submit(wait_for_it).result(60)
    assert turns._queues == {}


def test_a_call_that_fails_gives_its_turn_back() -> None:
    turns = Turns(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), turns.of(READER):
            raise ZeroDivisionError

    assert turns._queues == {}


@pytest.mark.parametrize(
    ("number", "took_s", "pause_s"),
    [
        (UNPACED, 0.002, None),
        (UNPACED + 1, 0.002, (PACED_SHARE - 1) * 0.002),
        (UNPACED + 1, 10.0, LONGEST_PAUSE_S),
    ],
    ids=["a few", "a queue", "slow ones"],
)
def test_a_queue_gets_a_share_of_the_time_and_no_more(
    number: int, took_s: float, pause_s: float | None
) -> None:
    """The next of a long queue begins after a pause that grows with what the last one took."""
    watch = Watch()
    turns = Turns(16, lambda: watch.now_s, watch.sleep)

    with turns.of(READER):
        watch.now_s += took_s
        waiting = [turns._join(READER) for _ in range(number - 1)]
    assert watch.slept_s == []
    for queue, turn in waiting[:-1]:
        turns._leave(READER, queue, turn)
    for _ in turns._serve(waiting[-1][0]):
        pass

    assert watch.slept_s == ([] if pause_s is None else [pytest.approx(pause_s)])
