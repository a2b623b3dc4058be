"""Buying never starves reading: each has its room, and a wait for a lock ends with its request."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from threading import BoundedSemaphore, Event

import pytest
from sqlalchemy import Engine, make_url, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gateway.resources.shop import make_shop
from tests.conftest import MakeSettings
from tests.integration.shop.conftest import OpenShopfront
from tests.lab.buyers import Shopfront, Till, at_once, tell
from tests.lab.shelf import Shop
from tidings.http.bulkhead import Bulkhead, TooBusyError
from tidings.process.deadline import Deadline, DeadlineExceededError, deadline_scope
from tidings.shop.tables import sku
from tidings.store import engine as engine_module
from tidings.store.engine import make_engine, transaction

# Longer than any test: what ends sooner has kept to another bound.
FOR_EVER_S = 900
DEADLINE_MS = 700
LONG_MS = FOR_EVER_S * 1000


class StandingDeadline(Deadline):
    """Always as many milliseconds from now as its number says."""

    __slots__ = ()

    def remaining_ms(self) -> float:
        return float(self)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work without a deadline waits for ever for a lock, and for a connection."""
    monkeypatch.setattr(engine_module, "SQLITE_BUSY_MS", FOR_EVER_S * 1000)
    monkeypatch.setattr(engine_module, "LOCK_WAIT_S", FOR_EVER_S)


@contextmanager
def locked(engine: Engine, url: str) -> Iterator[None]:
    """Another program holds what every order needs, as an import or a backup may."""
    if engine.dialect.name != "sqlite":
        with transaction(engine) as conn:
            conn.execute(select(sku).with_for_update()).all()
            yield
        return
    holder = sqlite3.connect(str(make_url(url).database), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()


@pytest.mark.usefixtures("patient")
def test_orders_end_with_their_deadline_while_another_program_holds_the_lock(
    open_shopfront: OpenShopfront, shop: Shop, database_url: str, make_settings: MakeSettings
) -> None:
    front, hurried = open_shopfront(), open_shopfront(deadline_ms=DEADLINE_MS)
    other = make_engine(make_settings(database_url=database_url).database)
    placed = front.order((1, 1))
    assert placed.status_code == 201
    with locked(other, database_url):
        orders = [partial(hurried.order, (1, 1), reader_id=2**52 + n) for n in range(6)]
        cancels = [partial(hurried.send, "DELETE", f"/orders/{placed.json['order_id']}")]

        refused = at_once(orders + cancels)

        assert {answer.status_code for answer in refused} == {503}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        reads = ["/channels", "/products", f"/orders/{placed.json['order_id']}"]
        assert [front.send("GET", path).status_code for path in reads] == [200] * 3
    assert front.order((1, 1)).status_code == 201, "and afterwards all is as before"
    assert shop.ledger() == shop.quantities()
    other.dispose()


@pytest.mark.usefixtures("patient")
def test_a_job_waits_longer_on_a_connection_that_a_request_has_used(
    shop: Shop, database_url: str, make_settings: MakeSettings
) -> None:
    engine = make_engine(make_settings(database_url=database_url, database_pool_size=1).database)
    other = make_engine(make_settings(database_url=database_url).database)
    released = Event()

    def change() -> None:
        with transaction(engine) as conn:
            conn.execute(text("UPDATE sku SET title = 'Changed' WHERE id = 1"))

    with ThreadPoolExecutor(1) as pool:
        with locked(other, database_url):
            with (
                deadline_scope(Deadline.after_ms(DEADLINE_MS)),
                pytest.raises((OperationalError, DeadlineExceededError)),
            ):
                change()
            job = pool.submit(change)
            # The job has begun, and holds the only connection.
            while engine.pool.checkedout() == 0 and not job.done():  # type: ignore[attr-defined]
                released.wait(0.01)
        job.result(60)

    with shop.engine.connect() as conn:
        assert conn.scalar(select(sku.c.title).where(sku.c.id == 1)) == "Changed"
    engine.dispose()
    other.dispose()


def test_on_mysql_the_wait_for_a_lock_is_set_from_the_deadline_in_whole_seconds(
    mariadb_url: str, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MySQL ends SELECTs only at their deadline; here MariaDB stands in for it."""
    engine = make_engine(make_settings(database_url=mariadb_url, database_pool_size=1).database)
    wait = text("SELECT @@innodb_lock_wait_timeout")
    with engine.connect():
        monkeypatch.setattr(engine.dialect, "is_mariadb", False)
    monkeypatch.setattr(engine_module, "ANSWER_GRACE_S", FOR_EVER_S)
    found = []
    for deadline in (StandingDeadline(3500), StandingDeadline(200), None):
        with deadline_scope(deadline), transaction(engine) as conn:
            found.append(conn.scalar(wait))

    assert found == [3, 1, engine_module.LOCK_WAIT_S]
    engine.dispose()


def test_a_request_waits_for_a_connection_no_longer_than_its_deadline(
    database_url: str, make_settings: MakeSettings
) -> None:
    settings = make_settings(
        database_url=database_url, database_pool_size=1, database_pool_timeout_s=FOR_EVER_S
    )
    engine = make_engine(settings.database)
    with (
        engine.connect(),
        deadline_scope(Deadline.after_ms(100)),
        pytest.raises(PoolTimeoutError),
    ):
        engine.connect()
    engine.dispose()


@contextmanager
def buyer_inside(front: Shopfront, till: Till) -> Iterator[None]:
    """A reader begins to pay, and the provider takes its time."""
    order = front.order((1, 1))
    is_inside, may_go = Event(), Event()

    def wait(_charge: object) -> None:
        is_inside.set()
        assert may_go.wait(60)

    till.before_answer = wait
    with ThreadPoolExecutor(1) as pool:
        paying = pool.submit(front.pay, order)
        assert is_inside.wait(60)
        try:
            yield
        finally:
            may_go.set()
        assert paying.result(60).status_code == 202


def test_beyond_its_room_buying_is_told_to_come_again_and_reading_goes_on(
    open_shopfront: OpenShopfront, till: Till
) -> None:
    front = open_shopfront(buying=Bulkhead("orders", 1, [BoundedSemaphore(1)]))
    mine = front.order((1, 1))
    with buyer_inside(front, till):
        for refused in (
            front.order((1, 1)),
            front.pay(mine),
            front.send("GET", f"/orders/{mine.json['order_id']}"),
            front.send("DELETE", f"/orders/{mine.json['order_id']}"),
        ):
            assert (refused.status_code, refused.json["type"]) == (503, "/docs#too-busy")
            assert refused.headers["Retry-After"] == "1"
        assert front.send("GET", "/products").status_code == 200
        assert front.send("GET", "/channels").status_code == 200
        told = front.call_back(tell(till.charges[-1]))
        assert told.json == {"settlement": "paid"}, "providers have a room of their own"

    assert front.order((1, 1)).status_code == 201


def test_providers_beyond_their_room_are_told_to_come_again(
    open_shopfront: OpenShopfront, till: Till
) -> None:
    room = Bulkhead("payment callbacks", 1, [BoundedSemaphore(1)])
    front = open_shopfront(settling=room)
    front.pay(front.order((1, 1)))
    with room:
        answer = front.call_back(tell(till.charges[-1]))

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert front.call_back(tell(till.charges[-1])).json == {"settlement": "paid"}


def test_a_burst_waits_for_a_place_that_is_soon_free() -> None:
    room = Bulkhead("payment callbacks", 1, [BoundedSemaphore(8)])
    with deadline_scope(Deadline.after_ms(LONG_MS)), ThreadPoolExecutor(8) as pool:
        with room:
            burst = [pool.submit(copy_context().run, enter_and_leave, room) for _ in range(7)]
            while free_threads(room) > 0:
                Event().wait(0.01)
        assert [entered.result(60) for entered in burst] == [True] * 7


def test_who_would_take_one_thread_too_many_is_refused_at_once() -> None:
    room = Bulkhead("orders", 1, [BoundedSemaphore(1)])
    with deadline_scope(Deadline.after_ms(LONG_MS)), room:
        assert not enter_and_leave(room)
    assert enter_and_leave(room), "and nothing is kept of a refusal"


def test_a_wait_leaves_three_quarters_of_the_time_to_the_work() -> None:
    room = Bulkhead("orders", 1, [BoundedSemaphore(2)])
    deadline = Deadline.after_ms(1000)
    with deadline_scope(deadline), room:
        before_ms = deadline.remaining_ms()
        assert not enter_and_leave(room)
        assert before_ms - deadline.remaining_ms() >= 0.2 * before_ms, "it was not refused at once"
    assert free_threads(room) == 2


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 8, 16, 64])
def test_half_of_the_threads_is_always_left_to_readers(
    threads: int, make_settings: MakeSettings, till: Till
) -> None:
    shop = make_shop(make_settings(gateway_threads=threads), till)

    inside_buying = free_threads(shop.buying)
    inside = max(places._value for places in shop.buying._threads)

    assert inside == max(threads // 2, 1)
    assert shop.settling._threads[0] in shop.buying._threads, "both count in one"
    assert inside_buying >= 1
    assert threads < 4 or inside_buying < inside, "buyers leave something to providers"
    # None waits for another's connection.
    rooms = count_room(shop.buying) + count_room(shop.settling)
    assert shop.engine.pool.size() == rooms  # type: ignore[attr-defined]
    shop.engine.dispose()


def enter_and_leave(room: Bulkhead) -> bool:
    """Whether there was a place."""
    try:
        with room:
            return True
    except TooBusyError:
        return False


def free_threads(room: Bulkhead) -> int:
    """How many more may come inside, to work or to wait."""
    return min(places._value for places in room._threads)


def count_room(room: Bulkhead) -> int:
    """How many fit in."""
    entered = 0
    enter: Callable[[], None] = room.__enter__
    while True:
        try:
            enter()
        except TooBusyError:
            break
        entered += 1
    for _ in range(entered):
        room.__exit__(None, None, None)
    return entered
