"""Which endpoint is asked."""

from __future__ import annotations

import random
import socket
import threading
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.process.deadline import Deadline
from tidings.process.errors import SettingsError
from tidings.process.listening import Address
from tidings.rpc.calling import balance as balance_module
from tidings.rpc.calling.balance import Balancer, Endpoint
from tidings.rpc.calling.policy import Policy
from tidings.rpc.errors import TransportFaultError

LATER = Deadline.after_ms(10 * 24 * 3_600_000)  # after the slowest run of all tests
ONE, TWO, THREE = "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The balancer's clock; jitter off."""
    now_s = [1000.0]

    monkeypatch.setattr(balance_module, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    monkeypatch.setattr(random, "uniform", lambda *_: 1.0)
    return now_s


def _ask(balancer: Balancer, *, healthy: bool | None) -> str:
    endpoint = balancer.pick(LATER)
    balancer.done(endpoint, healthy=healthy)
    return str(endpoint.address)


def _fail(balancer: Balancer, name: str, times: int) -> None:
    """That many calls to `name` fail; what goes elsewhere says nothing."""
    while times:
        endpoint = balancer.pick(LATER)
        failing = str(endpoint.address) == name
        balancer.done(endpoint, healthy=False if failing else None)
        times -= failing


def test_of_two_the_less_busy_is_asked() -> None:
    """With two endpoints both are always drawn."""
    balancer = Balancer([ONE, TWO], Policy())
    busy = balancer.pick(LATER)

    other = balancer.pick(LATER)
    assert other is not busy
    balancer.done(busy, healthy=True)
    assert balancer.pick(LATER) is busy


def test_load_is_nearly_even() -> None:
    """Two choices at random: no server has much more in flight than another."""
    balancer = Balancer([f"127.0.0.1:{port}" for port in range(1, 11)], Policy())
    picked = Counter(balancer.pick(LATER) for _ in range(1000))

    assert max(picked.values()) - min(picked.values()) < 10


def test_an_endpoint_that_fails_in_a_row_is_left_alone_and_probed_once(clock: list[float]) -> None:
    """One call finds out whether it is back; the others do not wait for its answer."""
    balancer = Balancer([ONE, TWO], Policy(eject_after=3, ejection_s=1))
    _fail(balancer, ONE, 3)
    assert {_ask(balancer, healthy=True) for _ in range(50)} == {TWO}

    clock[0] += 1
    in_flight = [balancer.pick(LATER) for _ in range(20)]
    assert Counter(str(endpoint.address) for endpoint in in_flight)[ONE] == 1

    for endpoint in in_flight:
        balancer.done(endpoint, healthy=True)
    assert {_ask(balancer, healthy=True) for _ in range(50)} == {ONE, TWO}


def test_each_failed_probe_doubles_the_wait(clock: list[float]) -> None:
    """Up to a limit, so that it is found soon after its return."""
    balancer = Balancer([ONE, TWO], Policy(eject_after=1, ejection_s=1, max_ejection_s=4))
    _fail(balancer, ONE, 1)
    waits = []
    for _ in range(4):
        began_s = clock[0]
        while ONE not in {_ask(balancer, healthy=None) for _ in range(20)}:
            clock[0] += 0.5
        waits.append(clock[0] - began_s)
        _fail(balancer, ONE, 1)

    assert waits == [1, 2, 4, 4]


def test_a_success_in_between_starts_the_count_anew() -> None:
    """Only failures in a row count; a busy endpoint has some now and then."""
    balancer = Balancer([ONE], Policy(eject_after=2))
    for _ in range(5):
        _ask(balancer, healthy=False)
        _ask(balancer, healthy=True)

    assert not balancer.pick(LATER).is_ejected()


def test_when_all_are_suspect_they_are_asked_all_the_same() -> None:
    """A wrong suspicion of everybody must not be an outage; with one endpoint there is never
    another."""
    alone = Balancer([ONE], Policy(eject_after=1))
    both = Balancer([ONE, TWO], Policy(eject_after=1))
    for _ in range(20):
        assert _ask(alone, healthy=False) == ONE
        assert _ask(both, healthy=False) in (ONE, TWO)


def test_one_that_is_leaving_is_left_at_once(clock: list[float]) -> None:
    """It said so itself; nothing has to fail first."""
    balancer = Balancer([ONE, TWO], Policy(ejection_s=1))
    leaving = balancer.pick(LATER)
    balancer.leave_alone(leaving)
    balancer.done(leaving, healthy=None)

    assert str(leaving.address) not in {_ask(balancer, healthy=True) for _ in range(50)}


def test_another_is_another() -> None:
    """For the retry, though the first may be the better one."""
    balancer = Balancer([ONE, TWO], Policy())
    first = balancer.pick(LATER)

    other = balancer.pick_other(first)
    assert other is not None
    assert other is not first
    alone = Balancer([ONE], Policy())
    assert alone.pick_other(alone.pick(LATER)) is None


@given(st.lists(st.sampled_from([True, False, None]), max_size=60))
def test_whatever_happens_somebody_is_asked_and_nothing_stays_in_flight(
    outcomes: list[bool | None],
) -> None:
    """The counts are what two choices go by: a leak would starve an endpoint for ever."""
    balancer = Balancer([ONE, TWO, THREE], Policy(eject_after=2, ejection_s=0.0001))
    seen: set[Endpoint] = set()
    for healthy in outcomes:
        endpoint = balancer.pick(LATER)
        seen.add(endpoint)
        balancer.done(endpoint, healthy=healthy)

    assert all(endpoint.in_flight == 0 and not endpoint.probing for endpoint in seen)


def test_without_endpoints_there_is_no_client() -> None:
    """An empty setting is found at start."""
    with pytest.raises(SettingsError, match="at least one endpoint"):
        Balancer([], Policy())


# Names.


class Resolver:
    """Stands for DNS: answers what it is told to, and counts."""

    def __init__(self) -> None:
        self.hosts: list[str] | None = ["10.0.0.1"]
        self.asked = threading.Semaphore(0)

    def __call__(self, endpoint: str) -> list[Address]:
        self.asked.release()
        if self.hosts is None:
            raise OSError("no such name")
        return [Address(socket.AF_INET, (host, 9)) for host in self.hosts]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    fake = Resolver()
    monkeypatch.setattr(balance_module, "resolve", fake)
    return fake


def _known(balancer: Balancer) -> set[str]:
    return {str(endpoint.address) for endpoint in balancer._endpoints}


def _settle() -> None:
    """Wait for the resolver's thread."""
    for thread in threading.enumerate():
        if thread.name == "rpc-resolve":
            thread.join()


def test_a_name_is_resolved_on_first_use_and_again_later(
    resolver: Resolver, clock: list[float]
) -> None:
    """Servers come and go behind one name; those that stay keep their connections."""
    balancer = Balancer(["recommender.internal:9"], Policy(resolve_every_s=30))
    assert _known(balancer) == set()
    first = balancer.pick(LATER)
    assert str(first.address) == "10.0.0.1:9"

    resolver.hosts = ["10.0.0.1", "10.0.0.2"]
    balancer.pick(LATER)
    assert _known(balancer) == {"10.0.0.1:9"}
    clock[0] += 31
    balancer.pick(LATER)
    _settle()

    assert _known(balancer) == {"10.0.0.1:9", "10.0.0.2:9"}
    assert first in balancer._endpoints


def test_a_resolver_that_fails_takes_nothing_away(resolver: Resolver, clock: list[float]) -> None:
    """An old address is better than none."""
    balancer = Balancer(["recommender.internal:9"], Policy(resolve_every_s=30))
    balancer.pick(LATER)
    resolver.hosts = None
    clock[0] += 31
    balancer.pick(LATER)
    _settle()

    assert _known(balancer) == {"10.0.0.1:9"}


def test_a_name_that_was_never_resolved_is_a_transport_fault(resolver: Resolver) -> None:
    """Nothing was sent, and the resolver's patience is not the caller's."""
    resolver.hosts = None
    balancer = Balancer(["recommender.internal:9"], Policy())

    with pytest.raises(TransportFaultError, match=r"recommender\.internal:9") as caught:
        balancer.pick(LATER)
    assert not caught.value.sent


def test_a_slow_resolver_does_not_outlast_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap: `getaddrinfo` knows no time-out, and takes half a minute when the name server is
    gone."""
    release = threading.Event()

    def hang(_: str) -> Any:
        release.wait(10)
        return []

    monkeypatch.setattr(balance_module, "resolve", hang)
    balancer = Balancer(["recommender.internal:9"], Policy())

    with pytest.raises(TransportFaultError):
        balancer.pick(Deadline.after_ms(20))
    release.set()
    _settle()
