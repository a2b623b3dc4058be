"""Who waits for a thread, for how long, and whose turn is next."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gateway.serving.work_queue import WorkQueue

LATER_S = time.monotonic() + 3600


class Desk:
    """One thread that does what it is told only when it is let."""

    def __init__(self) -> None:
        self.done: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.began = threading.Semaphore(0)
        self.may_go_on = threading.Semaphore(0)
        self.work = WorkQueue(1, self._do)

    def _do(self, job: str) -> None:
        self.began.release()
        self.may_go_on.acquire()
        if job == "broken":
            raise ValueError(job)
        self.done.put(job)

    def take_one(self) -> None:
        """The thread is busy with a first job, and all others wait."""
        self.work.put("first", "first", LATER_S)
        assert self.began.acquire(timeout=10)

    def finish(self, count: int) -> list[str]:
        self.may_go_on.release(count)
        return [self.done.get(timeout=10) for _ in range(count)]


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.work.shutdown()
    desk.may_go_on.release(100)


def test_each_address_is_served_in_its_turn(desk: Desk) -> None:
    desk.take_one()
    for number in range(3):
        desk.work.put("a", f"a{number}", LATER_S)
    desk.work.put("b", "b0", LATER_S)
    desk.work.put("c", "c0", LATER_S)

    assert desk.finish(6) == ["first", "a0", "b0", "c0", "a1", "a2"]


def test_one_more_waits_for_its_share_of_the_others(desk: Desk) -> None:
    desk.take_one()
    for number in range(100):
        desk.work.put("crowd", str(number), LATER_S)

    assert desk.work.expected_wait_s("crowd") > 50 * desk.work.expected_wait_s("reader") > 0


def test_nobody_waits_where_all_is_quiet(desk: Desk) -> None:
    assert desk.work.expected_wait_s("reader") == 0


@pytest.mark.parametrize(
    ("took_s", "busy_s"), [(0.1, 0.0), (0.0, 0.1)], ids=["it waited", "it worked"]
)
def test_it_learns_how_long_one_takes(desk: Desk, took_s: float, busy_s: float) -> None:
    for _ in range(200):
        desk.work.learn(took_s, busy_s)
    desk.take_one()
    for _ in range(10):
        desk.work.put("crowd", "x", LATER_S)

    assert desk.work.expected_wait_s("crowd") == pytest.approx(1.0, rel=0.01)


def test_those_whose_time_is_over_are_given_back_once(desk: Desk) -> None:
    desk.take_one()
    desk.work.put("a", "late", 5.0)
    desk.work.put("a", "in time", 15.0)
    desk.work.put("b", "late too", 6.0)

    assert sorted(desk.work.take_late(10.0)) == ["late", "late too"]
    assert list(desk.work.take_late(10.0)) == []
    assert desk.finish(2) == ["first", "in time"]


def test_one_that_fails_takes_no_thread_with_it(desk: Desk) -> None:
    desk.work.put("a", "broken", LATER_S)
    desk.work.put("a", "whole", LATER_S)
    desk.may_go_on.release(2)

    assert desk.done.get(timeout=10) == "whole"


def test_threads_end_when_they_are_told(desk: Desk) -> None:
    def living() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("door-")]

    threads = living()

    desk.work.shutdown()

    _wait_until(lambda: not set(living()) & set(threads))


def _wait_until(is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.01)
