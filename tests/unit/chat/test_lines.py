"""Lines of those that have a moment left, how fast one may speak, and what an address may hold: the
parts of the door that need no socket."""

from __future__ import annotations

import pytest

from services.chat.addresses import ANY, Addresses
from services.chat.pacing import BURST, PER_S, Pace
from services.chat.waiting import Line
from tidings.http.errors import TooManyConnectionsError


class Waiter:
    def __init__(self) -> None:
        self.ended: list[bool] = []

    def give_up(self, *, late: bool) -> None:
        self.ended.append(late)


def test_those_whose_time_is_over_are_given_up_and_no_others() -> None:
    line = Line(within_s=5, most=10)
    first, second = Waiter(), Waiter()
    line.add(first, 100.0)
    line.add(second, 101.0)

    line.give_up_late(104.9)
    assert first.ended == []
    line.give_up_late(105.5)

    assert (first.ended, second.ended, len(line)) == ([True], [], 1)


def test_one_more_than_a_line_holds_pushes_out_the_oldest() -> None:
    line = Line(within_s=5, most=2)
    waiters = [Waiter() for _ in range(3)]
    for waiter in waiters:
        line.add(waiter, 100.0)

    assert [waiter.ended for waiter in waiters] == [[False], [], []]


def test_one_that_is_past_the_line_is_not_given_up() -> None:
    line = Line(within_s=5, most=2)
    waiter = Waiter()
    line.add(waiter, 100.0)
    line.remove(waiter)
    line.remove(waiter)

    line.give_up_late(1000.0)

    assert waiter.ended == []


def test_one_that_gives_up_may_take_others_out_of_the_line() -> None:
    line = Line(within_s=5, most=10)
    other = Waiter()

    class Hasty(Waiter):
        def give_up(self, *, late: bool) -> None:
            super().give_up(late=late)
            line.remove(other)

    hasty = Hasty()
    line.add(hasty, 100.0)
    line.add(other, 100.0)

    line.give_up_late(106.0)

    assert (hasty.ended, other.ended) == ([True], [])


def test_a_burst_is_admitted_and_then_so_many_a_second() -> None:
    pace = Pace()

    burst = [pace.admit(100.0) for _ in range(BURST + 5)]
    later = [pace.admit(101.0) for _ in range(int(PER_S) + 5)]
    rested = [pace.admit(200.0) for _ in range(BURST + 5)]

    assert burst == [True] * BURST + [False] * 5
    assert later == [True] * int(PER_S) + [False] * 5
    assert rested == [True] * BURST + [False] * 5


def test_an_address_holds_its_share_and_a_place_that_is_left_is_free() -> None:
    addresses = Addresses(2, lambda address: address == "127.0.0.1")
    places = [addresses.take("192.0.2.7") for _ in range(2)]

    with pytest.raises(TooManyConnectionsError):
        addresses.take("::ffff:192.0.2.7")
    assert addresses.take("192.0.2.8")
    addresses.leave(places[0])
    assert addresses.take("192.0.2.7")


def test_a_proxy_and_a_site_without_a_limit_hold_any_number() -> None:
    believed = Addresses(1, lambda address: True)
    unlimited = Addresses(0, lambda address: False)

    for addresses in (believed, unlimited):
        places = [addresses.take("192.0.2.7") for _ in range(3)]
        assert places == [ANY] * 3
        addresses.leave(places[0])
