"""Connections are lent to one call at a time, never more of them than allowed, and only if nothing
is in doubt."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.rpc.peers import PATIENCE_S, Conversation, Peer
from tests.lab.servers import free_port, wait_until
from tidings.process.deadline import Deadline, DeadlineExceededError
from tidings.process.listening import parse_address
from tidings.rpc.calling.connection import Connection
from tidings.rpc.calling.policy import Policy
from tidings.rpc.calling.pool import Pool, PoolExhaustedError


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A server that accepts and waits."""
    with Peer(lambda conversation: conversation.hold()) as running:
        yield running


def _pool(peer: Peer, **policy: Any) -> Pool:
    address = parse_address(peer.endpoint)
    assert address is not None
    return Pool(
        address,
        Policy(**{"pool_wait_ms": PATIENCE_S * 1000, "connect_timeout_ms": 30_000, **policy}),
    )


def _later() -> Deadline:
    return Deadline.after_ms(PATIENCE_S * 1000)


def test_the_last_one_returned_is_lent_first(peer: Peer) -> None:
    """So the connections that are not needed grow old together."""
    pool = _pool(peer)
    with pool.lease(_later()) as first, pool.lease(_later()) as second:
        assert first is not second
    with pool.lease(_later()) as again:
        assert again is first, "it came back last"
    pool.close()


def test_nothing_is_opened_before_it_is_needed(peer: Peer) -> None:
    """Trap: a socket opened before `fork` is shared by all workers."""
    pool = _pool(peer)
    assert peer.connections == 0
    with pool.lease(_later()):
        wait_until(lambda: peer.connections == 1, PATIENCE_S, "the connection")
    pool.close()


@pytest.mark.parametrize("doubt", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_is_raised_destroys_the_connection(peer: Peer, doubt: type[BaseException]) -> None:
    """Trap: what derives from BaseException alone (an interrupt, gevent's Timeout) passes `except
    Exception`."""
    pool = _pool(peer, pool_size=1)
    lent: list[Connection] = []

    def fail() -> None:
        with pool.lease(_later()) as connection:
            lent.append(connection)
            raise doubt

    for _ in range(3):  # its place comes back each time
        with pytest.raises(doubt):
            fail()
    assert len({id(connection) for connection in lent}) == 3
    assert not any(connection.transport.isOpen() for connection in lent)


def test_an_old_connection_is_replaced(peer: Peer) -> None:
    """Each grows old at its own time, give or take 10 %, so that they are not all replaced at
    once."""
    pool = _pool(peer, connection_max_age_s=0.02)
    with pool.lease(_later()) as first:
        pass
    wait_until(lambda: not _is_lent_again(pool, first), PATIENCE_S, "its age")
    pool.close()

    young = _pool(peer, connection_max_age_s=1000)
    expiries = set()
    for _ in range(10):
        before_s = time.monotonic()
        lease = young.lease(_later())
        young.discard(lease)
        assert before_s + 900 <= lease.expires_s <= time.monotonic() + 1100
        expiries.add(round(lease.expires_s - before_s))
    assert len(expiries) > 1


def test_what_is_idle_can_be_dropped_and_opened_anew(peer: Peer) -> None:
    """A server that leaves may close them just as they are used. What is in use stays, and no
    caller loses its place."""
    pool = _pool(peer, pool_size=3)
    with pool.lease(_later()) as busy:
        with pool.lease(_later()) as one, pool.lease(_later()) as other:
            pass
        pool.drop_idle("leaving")

        assert [connection.transport.isOpen() for connection in (busy, one, other)] == [
            True,
            False,
            False,
        ]
        with pool.lease(_later()), pool.lease(_later()):
            assert pool.in_use == 3
    pool.close()


def _is_lent_again(pool: Pool, connection: object) -> bool:
    with pool.lease(_later()) as lent:
        return lent is connection


def test_a_connection_with_an_unread_byte_is_not_lent_again() -> None:
    """Trap: the stock `isOpen` takes a waiting byte for a sign of life; it is a late reply."""
    sent = threading.Event()
    go = threading.Event()

    def script(conversation: Conversation) -> None:
        go.wait(PATIENCE_S)
        conversation.send(b"x")
        sent.set()
        conversation.hold()

    with Peer(script) as peer:
        pool = _pool(peer)
        with pool.lease(_later()) as first:
            pass
        go.set()
        assert sent.wait(PATIENCE_S)
        wait_until(lambda: not first.is_idle(), PATIENCE_S, "the byte")
        with pool.lease(_later()) as second:
            assert second is not first
        pool.close()


def test_no_more_than_allowed_are_open(peer: Peer) -> None:
    """Twenty threads, four connections."""
    pool = _pool(peer, pool_size=4)
    held = threading.Semaphore(4)

    def use(_: int) -> bool:
        with pool.lease(_later()):
            alone = held.acquire(blocking=False)
            time.sleep(0.001)
            held.release()
            return alone

    with ThreadPoolExecutor(20) as threads:
        assert all(threads.map(use, range(200)))
    assert peer.connections <= 4
    pool.close()


def test_waiting_for_a_connection_is_bounded_in_time(peer: Peer) -> None:
    """By the policy, and by the deadline if that is sooner."""
    pool = _pool(peer, pool_size=1, pool_wait_ms=20)
    with pool.lease(_later()):
        with pytest.raises(PoolExhaustedError, match="no free connection"):
            pool.lease(_later())
        with pytest.raises(PoolExhaustedError):
            pool.lease(Deadline.after_ms(-1))
    pool.close()


def test_waiting_for_a_connection_is_bounded_in_number(peer: Peer) -> None:
    """A queue that grows without limit only hides that the answer will be too late."""
    pool = _pool(peer, pool_size=1, pool_max_waiters=1)
    with ThreadPoolExecutor(1) as threads:
        with pool.lease(_later()) as mine:
            waiting = threads.submit(_is_lent_again, pool, mine)
            wait_until(lambda: pool._waiters == 1, PATIENCE_S, "somebody to wait")
            with pytest.raises(PoolExhaustedError, match="too many calls wait"):
                pool.lease(_later())
        assert waiting.result(PATIENCE_S), "the one who waits gets what came back"
    pool.close()


def test_a_failed_connect_gives_its_place_back() -> None:
    """Otherwise a server that was gone for a minute leaves a pool that is full for ever."""
    address = parse_address(f"127.0.0.1:{free_port()}")
    assert address is not None
    pool = Pool(address, Policy(pool_size=1))
    for _ in range(3):
        with pytest.raises(Exception, match="cannot connect"):
            pool.lease(_later())
    with pytest.raises(DeadlineExceededError):
        pool.lease(Deadline.after_ms(-1))
    assert pool.in_use == 0


def test_what_comes_back_to_a_closed_pool_is_closed(peer: Peer) -> None:
    """And a caller that waits is told."""
    pool = _pool(peer, pool_size=1)
    with ThreadPoolExecutor(1) as threads:
        with pool.lease(_later()) as connection:
            waiting = threads.submit(pool.lease, _later())
            wait_until(lambda: pool._waiters == 1, PATIENCE_S, "somebody to wait")
            pool.close()
            with pytest.raises(Exception, match="closed"):
                waiting.result(PATIENCE_S)
        assert not connection.transport.isOpen()
