"""What a master thinks of its workers, and how it names them."""

from __future__ import annotations

import socket
import time
from contextlib import closing

import pytest

from tests.lab.servers import free_port
from tidings.process import worker_numbers
from tidings.process.errors import SettingsError
from tidings.process.handover import Handover
from tidings.process.listening import bind_for_each, listen
from tidings.process.master import DOUBTFUL_AFTER_S, HUNG_AFTER_S, START_S, _Slot, _Worker
from tidings.rpc.wire.transport import Listener


def worker(number: int = 1) -> _Worker:
    now_s = time.monotonic()
    return _Worker(pid=0, number=number, reports=-1, started_s=now_s, heard_s=now_s)


def test_the_last_word_counts() -> None:
    """Several may be read at once when the master was busy."""
    one = worker()
    heard = []
    for words in (b"+-+", b"+-"):
        one.hear(words)
        heard.append(one.ready)
    assert heard == [True, False]
    assert one.was_ready


def test_silence_is_first_doubt_and_then_death() -> None:
    """Dead, hung or frozen: a worker that says nothing is sent no client, and in the end
    replaced."""
    one = worker()
    one.hear(b"+")
    assert one.may_be_asked(one.heard_s)
    assert not one.may_be_asked(one.heard_s + DOUBTFUL_AFTER_S)
    assert not one.hangs(one.heard_s + DOUBTFUL_AFTER_S)
    assert one.hangs(one.heard_s + HUNG_AFTER_S + 1)


def test_a_start_may_take_longer_than_a_beat() -> None:
    one = worker()
    assert not one.hangs(one.heard_s + HUNG_AFTER_S + 1)
    assert one.hangs(one.heard_s + START_S + 1)


def test_a_reason_is_no_word_about_readiness() -> None:
    """Its text may hold the signs for ready and not ready."""
    one = worker()
    one.hear(b"!cannot start: a + b - c")
    assert not one.ready
    assert one.reason == b"cannot start: a + b - c"


def test_the_successor_takes_over() -> None:
    with socket.socket() as listener, closing(Handover()) as handover:
        slot = _Slot(0, listener, handover, current=worker(1), successor=worker(2))
        slot.hand_over()
        assert [each.number for each in slot.workers()] == [2]
        slot.hand_over()
        assert slot.workers() == []


def test_outside_of_workers_the_number_is_the_masters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_numbers, "_mine", worker_numbers.MASTER)
    assert worker_numbers.my_number() == 0
    worker_numbers.take_number(3)
    assert worker_numbers.my_number() == 3
    assert worker_numbers.free_number([1, 2, 4]) == 3


def test_each_worker_gets_a_socket_on_the_same_port() -> None:
    sockets = bind_for_each(3, "127.0.0.1:0")
    try:
        assert len({sock.getsockname() for sock in sockets}) == 1
    finally:
        for sock in sockets:
            sock.close()


def test_a_port_that_was_taken_before_a_worker_listens_is_named() -> None:
    """Trap: a port that is bound and not listened on may be had by any other program that says
    SO_REUSEADDR."""
    (mine,) = bind_for_each(1, "127.0.0.1:0")
    with (
        mine,
        listen(f"127.0.0.1:{mine.getsockname()[1]}"),
        pytest.raises(
            SettingsError, match=r"cannot listen on 127\.0\.0\.1:\d+: another program listens there"
        ),
    ):
        Listener(mine, 1024).listen()


def test_a_port_that_somebody_listens_on_is_not_shared() -> None:
    """Trap: SO_REUSEPORT on both sides would share it without a word."""
    bind = f"127.0.0.1:{free_port()}"
    (first,) = bind_for_each(1, bind)
    first.listen()
    with first, pytest.raises(SettingsError, match="another program listens there"):
        bind_for_each(1, bind)
