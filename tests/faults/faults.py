"""The faults, one function each: what is broken, again and again, while readers order, pay and
cancel.

A fault runs until `world.pause` says that the time is over, and leaves everything repairable
behind.
"""

from __future__ import annotations

import copy
import itertools
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pymysql
import redis
from sqlalchemy import insert, select
from sqlalchemy.exc import SQLAlchemyError

from tests.faults import invariants
from tests.faults.backlog import insert_jobs, insert_orders
from tests.faults.shopkeeper import READER_ID
from tests.faults.world import HELD_SKU, HOT_SKU, HOT_STOCK, SKUS, Process, World
from tests.lab.servers import wait_until
from tidings.shop.caps import take_turns
from tidings.shop.tables import sku
from tidings.store.delayed_tables import delayed_job
from tidings.store.engine import transaction

Fault = Callable[[World], None]
UNKNOWN_KIND = "renamed_long_ago"
# A busy machine makes a daemon late, but not as late as this; promptness is the benchmark's
# concern.
FORGOTTEN_S = 10.0
# How far a fault sets the database's clock wrong.
JUMP_S = 3600


def nothing(world: World) -> None:
    """No fault: nothing may be forgotten at any time, not only in the end."""
    while not world.pause(0.2):
        forgotten = invariants.count_overdue(world.engine, FORGOTTEN_S)
        assert forgotten == 0, f"{forgotten} forgotten while nothing was broken"


def burst(world: World) -> None:
    """10,000 orders that all expire within one second, while others come in."""
    start = datetime.now(UTC) + timedelta(seconds=4)
    moments = [start + timedelta(milliseconds=n / 10) for n in range(10_000)]
    with transaction(world.engine) as conn:
        insert_jobs(conn, insert_orders(conn, moments, first_id=1_000_000, skus=SKUS), moments)
    world.pause(60)


def kill_daemons(world: World) -> None:
    """kill -9 a daemon every second."""
    while not world.pause(world.random.uniform(0.6, 1.2)):
        _replace(world, world.random.choice(world.daemons), signal.SIGKILL)


def terminate_daemons(world: World) -> None:
    """SIGTERM, mostly in the middle of a batch; it must end by itself, and with 0."""
    while not world.pause(1):
        daemon = world.random.choice(world.daemons)
        wait_until(lambda daemon=daemon: daemon.is_up() or not daemon.is_running, 20, daemon.name)  # type: ignore[misc]
        _wait_for_batch(world)
        assert daemon.popen is not None
        daemon.is_wanted = False
        daemon.send(signal.SIGTERM)
        # It gives its batch ten seconds; a busy machine may take some of its own.
        code = daemon.popen.wait(60)
        if code != 0:
            world.died.append(f"{daemon.name} exited {code} after SIGTERM")
        daemon.start()


def kill_database(world: World) -> None:
    """kill -9 MariaDB three times."""
    for _ in range(3):
        if world.pause(1.5):
            return
        world.database.kill()
        world.pause(world.random.uniform(0.1, 1))
        world.database.start()
    world.pause(60)


def lose_redis(world: World) -> None:
    """FLUSHALL and kill -9 Redis, three times each."""
    for _ in range(3):
        with (
            suppress(redis.RedisError),
            redis.Redis.from_url(world.redis.url, socket_timeout=2) as client,
        ):
            client.flushall()
        if world.pause(0.7):
            break
        with world.redis_lock:
            world.redis.kill()
            over = world.pause(0.7)
            world.redis.start()
        if over:
            break
    world.pause(60)


def kill_connections(world: World) -> None:
    """KILL connections, 20 a second: any, and those that are in the middle of a transaction or just
    committing."""
    everybody = (
        f"SELECT id FROM information_schema.processlist WHERE db = '{world.name}' AND id "
        "<> CONNECTION_ID()"
    )
    busy = f"{everybody} AND id IN (SELECT trx_mysql_thread_id FROM information_schema.innodb_trx)"
    while not world.pause(0.05):
        rows = world.execute(world.random.choice((busy, everybody)))
        if rows:
            world.execute(f"KILL {world.random.choice(rows)[0]}")


def freeze_daemons(world: World) -> None:
    """SIGSTOP a daemon, mostly inside a transaction, briefly and for longer than the server bears
    an idle one."""
    pauses_s = itertools.cycle((6, 0.3, 2))
    while not world.pause(0.5):
        daemon = world.random.choice(world.daemons)
        _wait_for_batch(world)
        daemon.send(signal.SIGSTOP)
        over = world.pause(next(pauses_s))
        daemon.send(signal.SIGCONT)
        if over:
            return


def set_database_clock(world: World) -> None:
    """The database's clock jumps an hour forward, back, an hour backward, and back, each time until
    all daemons have noticed."""
    # Only one who has read a clock before can tell that it jumped.
    _wait_until_all_show(world, 'tidings_jobs_due{kind="order_timeout"}')
    while not world.pause(1):
        for offset_s in (JUMP_S, -JUMP_S):
            with _nobody_orders(world):
                try:
                    world.database.set_clock(offset_s)
                    _wait_until_all_show(world, "tidings_jobs_clock_held 1.0")
                finally:
                    world.database.set_clock(0)
            _wait_until_all_show(world, "tidings_jobs_clock_held 0.0")
            world.pause(0.5)


@contextmanager
def _nobody_orders(world: World) -> Iterator[None]:
    """An order that is placed by a wrong clock expires an hour late, or is born expired.

    Not by stopping the shop: what it has sent by then would still be read, an hour late.
    """
    with world.engine.connect() as conn:
        take_turns(conn, READER_ID, None)
        yield


def _wait_until_all_show(world: World, sample: str) -> None:
    wait_until(lambda: all(daemon.shows(sample) for daemon in world.daemons), 30, sample)


def poison(world: World) -> None:
    """Jobs that can never be done, of kinds known and unknown, due among the others."""
    n, written = 0, set()
    while not world.pause(0.1):
        n += 1
        past = datetime.now(UTC) - timedelta(seconds=1)
        job = {"run_at": past, "payload": {}, "created_at": past}
        with suppress(SQLAlchemyError):
            with transaction(world.engine) as conn:
                conn.execute(
                    insert(delayed_job).values(
                        kind="publish_article", ref=f"not-a-number-{n}", **job
                    )
                )
                conn.execute(insert(delayed_job).values(kind=UNKNOWN_KIND, ref=str(n), **job))
            written.add(str(n))
    wait_until(world.answers, 30, "the database")
    with world.engine.connect() as conn:
        kept = set(
            conn.scalars(select(delayed_job.c.ref).where(delayed_job.c.kind == UNKNOWN_KIND))
        )
    assert written <= kept, f"{len(written - kept)} jobs of an unknown kind are gone"


def kill_shop(world: World) -> None:
    """kill -9 the gateway: anywhere, and between an order and its hint, which a frozen Redis does
    not take."""
    for n in itertools.count():
        if world.pause(world.random.uniform(0.8, 1.2)):
            return
        with world.redis_lock, world.redis.frozen() if n % 2 else nullcontext():
            over = world.pause(0.1)
            for shop in world.shops:
                shop.kill()
        told = len(world.read_ledger())
        for shop in world.shops:
            shop.start()
        # A gateway that is killed before it has done anything proves nothing.
        while not over and len(world.read_ledger()) == told:
            over = world.pause(0.05)
        if over:
            return


def make_read_only(world: World) -> None:
    """The database refuses writes for a second, again and again."""
    with world.database.root() as admin:
        # With this right one may write to a read-only server.
        admin("REVOKE READ_ONLY ADMIN ON *.* FROM tidings@'%'")
        try:
            _switch(world, admin, "SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0")
        finally:
            admin("GRANT ALL ON *.* TO tidings@'%'")


def exhaust_connections(world: World) -> None:
    """No connection is to be had: every client is thrown out and nearly none let in, again and
    again."""
    with world.database.root() as admin:
        _switch(world, admin, "SET GLOBAL max_connections = 10", "SET GLOBAL max_connections = 500")


def _switch(world: World, admin: Callable[[str], Any], bad: str, good: str) -> None:
    over = False
    while not over and not world.pause(1):
        admin(bad)
        for (thread,) in admin(
            "SELECT id FROM information_schema.processlist WHERE user = 'tidings'"
        ):
            with suppress(pymysql.MySQLError):  # it ended by itself
                admin(f"KILL {thread}")
        over = world.pause(1)
        admin(good)


def kill_while_it_waits(world: World) -> None:
    """kill -9 daemons, and KILL what they are connected by, at one certain place: when a batch
    waits for the stock.

    That is the last lock it takes. All else that it does is done by then, and nothing of it may
    remain.
    """
    for n in itertools.count():
        past = [datetime.now(UTC) - timedelta(seconds=1)] * 250
        with transaction(world.engine) as conn:
            # Downwards: those that readers place meanwhile are numbered from the highest on.
            ids = insert_orders(
                conn, past, first_id=2_000_000 - 1000 * n, skus=1, first_sku=HELD_SKU
            )
        with world.engine.connect() as neighbour:
            neighbour.execute(select(sku.c.id).where(sku.c.id == HELD_SKU).with_for_update())
            with transaction(world.engine) as conn:
                insert_jobs(conn, ids, past)
            wait_until(lambda: bool(_find_waiting(world)), 15, "a batch to wait for the stock")
            if n % 2:
                for thread in _find_waiting(world):
                    world.execute(f"KILL {thread}")
            else:
                for daemon in world.daemons:
                    daemon.kill()
        for daemon in world.daemons:
            if not daemon.is_running:
                daemon.start()
        if world.pause(0.5):
            return


def _find_waiting(world: World) -> list[int]:
    """The connections of batches that have been waiting for that quantity for a while."""
    return _find_running(world, f"%[{HELD_SKU},%quantity + wanted.n%", for_ms=100)


def _find_running(world: World, statement: str, for_ms: int = 0) -> list[int]:
    # Not innodb_trx: whoever asks it more often than ten times a second is told the same as before.
    rows = world.execute(
        "SELECT id FROM information_schema.processlist"
        f" WHERE info LIKE '{statement}' AND time_ms >= {for_ms} AND id <> CONNECTION_ID()"
    )
    return [thread for (thread,) in rows]


def cut_commits(world: World) -> None:
    """Every connection of daemons and gateway is cut at one COMMIT in twenty, half of them after it
    was done."""
    cutter = world.cutter
    assert cutter is not None
    # Not before: a daemon that cannot reach its database when it starts says so and ends.
    cutter.cutting = True
    world.pause(60)
    # On a busy machine there are few commits by now.
    wait_until(
        lambda: min(cutter.cuts["before"], cutter.cuts["after"]) > 0, 30, "both kinds of cuts"
    )
    cutter.cutting = False


def sell_out(world: World) -> None:
    """No fault but a crowd: 32 readers order one product that is scarce, and whose orders keep
    expiring."""
    left = f"SELECT quantity FROM {world.name}.sku WHERE id = {HOT_SKU}"
    wait_until(lambda: world.execute(left) == ((0,),), 30, "the product to be sold out")
    wait_until(lambda: len(_placed(world)) > HOT_STOCK, 30, "what expired to be sold again")
    world.pause(60)
    placed = _placed(world)
    took_ms = sorted(entry["took_ms"] for entry in placed)
    p50, p99 = (took_ms[int(len(took_ms) * share)] for share in (0.5, 0.99))
    print(
        f"{len(placed)} orders for {HOT_STOCK} pieces; placing took p50 {p50:.1f} ms, p99 "
        f"{p99:.1f} ms"
    )


def _placed(world: World) -> list[dict[str, Any]]:
    return [entry for entry in world.read_ledger() if entry["what"] == "placed"]


def everything(world: World) -> None:
    """All of it at once, but for the clocks."""
    _at_once(
        world,
        kill_daemons,
        kill_database,
        lose_redis,
        kill_connections,
        freeze_daemons,
        kill_shop,
        poison,
    )


def _at_once(world: World, *faults: Fault) -> None:
    errors: list[BaseException] = []

    def guarded(fault: Fault) -> None:
        # Its own numbers: of shared ones, who draws first would depend on the threads.
        mine = copy.copy(world)
        mine.random = random.Random(f"{world.seed}:{fault.__name__}")
        try:
            fault(mine)
        except BaseException as ex:  # noqa: BLE001 - handed to the thread that waits
            errors.append(ex)

    threads = [threading.Thread(target=guarded, args=(fault,)) for fault in faults]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _replace(world: World, daemon: Process, number: int) -> None:
    world.supervise()
    # A daemon that is killed before it has begun proves nothing.
    while daemon.is_running and not daemon.is_up() and not world.pause(0.05):
        pass
    _wait_for_batch(world)
    daemon.kill(number)
    daemon.start()


def _wait_for_batch(world: World) -> None:
    """Return while some daemon is inside a transaction, if that can be had within a second."""
    for _ in range(200):
        if _find_running(world, "%JSON_TABLE%"):
            return
        if world.pause(0.005):
            return
