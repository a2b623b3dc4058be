"""The faults, one function each: what is broken, again and again, while readers order, pay and cancel.

A fault runs until `world.pause` says that the time is over, and leaves everything repairable behind. `run` then waits
for the site to come to rest and counts the violations. The same `run` is given the wrong daemons.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pymysql
import redis
from sqlalchemy import insert, select
from sqlalchemy.exc import SQLAlchemyError

from tests.faults import invariants
from tests.faults.backlog import insert_jobs, insert_orders
from tests.faults.world import SKUS, FakedClockMariaDB, Process, World, faketime_env, world
from tests.faults.wrong import MISTAKES
from tests.servers import RedisServer, wait_until
from tidings.store.engine import transaction
from tidings.store.job_tables import delayed_job

Fault = Callable[[World], None]
UNKNOWN_KIND = "renamed_long_ago"


def nothing(world: World) -> None:
    """No fault: nothing may be overdue at any time, not only in the end."""
    while not world.pause(0.2):
        overdue = invariants.count_overdue(world.engine)
        assert overdue == 0, f"{overdue} overdue while nothing was broken"


def burst(world: World) -> None:
    """10,000 orders that all expire within one second, while others come in."""
    now = datetime.now(UTC)
    moments = [now + timedelta(seconds=6, milliseconds=n / 10) for n in range(10_000)]
    with transaction(world.engine) as conn:
        insert_jobs(conn, insert_orders(conn, moments, first_id=1_000_000, skus=SKUS), moments)
    world.pause(60)


def kill_daemons(world: World) -> None:
    """kill -9 a daemon every second."""
    while not world.pause(world.random.uniform(0.6, 1.2)):
        _replace(world, world.random.choice(world.daemons), signal.SIGKILL)


def terminate_daemons(world: World) -> None:
    """SIGTERM, mostly in the middle of a batch; it must end by itself within ten seconds, and with 0."""
    while not world.pause(1):
        daemon = world.random.choice(world.daemons)
        wait_until(lambda daemon=daemon: daemon.is_up() or not daemon.is_running, 20, daemon.name)  # type: ignore[misc]
        _wait_for_batch(world)
        assert daemon.popen is not None
        daemon.is_wanted = False
        daemon.send(signal.SIGTERM)
        code = daemon.popen.wait(12)
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
        with suppress(redis.RedisError), redis.Redis.from_url(world.redis.url, socket_timeout=2) as client:
            client.flushall()
        if world.pause(1):
            break
        world.redis.kill()
        over = world.pause(1)
        world.redis.start()
        if over:
            break
    world.pause(60)


def kill_connections(world: World) -> None:
    """KILL connections, 20 a second: any, and those that are in the middle of a transaction or just committing."""
    database = world.url.rpartition("/")[2]
    everybody = f"SELECT id FROM information_schema.processlist WHERE db = '{database}' AND id <> CONNECTION_ID()"
    busy = f"{everybody} AND id IN (SELECT trx_mysql_thread_id FROM information_schema.innodb_trx)"
    while not world.pause(0.05):
        rows = world.execute(world.random.choice((busy, everybody)))
        if rows:
            world.execute(f"KILL {world.random.choice(rows)[0]}")


def freeze_daemons(world: World) -> None:
    """SIGSTOP a daemon, mostly inside a transaction, for longer than the server bears an idle one."""
    while not world.pause(0.5):
        daemon = world.random.choice(world.daemons)
        _wait_for_batch(world)
        daemon.send(signal.SIGSTOP)
        over = world.pause(world.random.choice((0.3, 3, 7)))
        daemon.send(signal.SIGCONT)
        if over:
            return


def set_database_clock(world: World) -> None:
    """The database's clock jumps an hour forward, back, an hour backward, and back."""
    for offset_s in (3600, 0, -3600, 0):
        if world.pause(1.2):
            break
        world.database.set_clock(offset_s)
        # While its clock is wrong nobody orders: such an order would expire an hour late, or be born expired.
        if world.pause(0.3 if offset_s else 1.5):
            break
    world.database.set_clock(0)
    world.pause(60)


def poison(world: World) -> None:
    """Jobs that can never be done, of kinds known and unknown, due among the others."""
    n, written = 0, set()
    while not world.pause(0.1):
        n += 1
        past = datetime.now(UTC) - timedelta(seconds=1)
        job = {"run_at": past, "payload": {}, "created_at": past}
        with suppress(SQLAlchemyError):
            with transaction(world.engine) as conn:
                conn.execute(insert(delayed_job).values(kind="publish_article", ref=f"not-a-number-{n}", **job))
                conn.execute(insert(delayed_job).values(kind=UNKNOWN_KIND, ref=str(n), **job))
            written.add(str(n))
    wait_until(world.answers, 30, "the database")
    with world.engine.connect() as conn:
        kept = set(conn.scalars(select(delayed_job.c.ref).where(delayed_job.c.kind == UNKNOWN_KIND)))
    assert written <= kept, f"{len(written - kept)} jobs of an unknown kind are gone"


def kill_shop(world: World) -> None:
    """kill -9 the gateway: between order and hint, at COMMIT, anywhere."""
    while not world.pause(world.random.uniform(0.3, 1)):
        shop = world.random.choice(world.shops)
        shop.kill()
        shop.start()


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
    """No connection is to be had: everybody is thrown out and nearly nobody let in, again and again."""
    with world.database.root() as admin:
        _switch(world, admin, "SET GLOBAL max_connections = 10", "SET GLOBAL max_connections = 500")


def _switch(world: World, admin: Callable[[str], Any], bad: str, good: str) -> None:
    over = False
    while not over and not world.pause(1):
        admin(bad)
        for (thread,) in admin("SELECT id FROM information_schema.processlist WHERE user = 'tidings'"):
            with suppress(pymysql.MySQLError):  # it ended by itself
                admin(f"KILL {thread}")
        over = world.pause(1)
        admin(good)


def kill_in_a_flood(world: World) -> None:
    """Full batches all the time, and kills in the middle of them: of daemons, and of what they are connected by."""
    _at_once(world, flood, kill_daemons, kill_connections)


def flood(world: World) -> None:
    """A thousand orders a second that are due already."""
    first_id = 2_000_000
    while not world.pause(0.4):
        moments = [datetime.now(UTC) - timedelta(seconds=1)] * 400
        with suppress(SQLAlchemyError), transaction(world.engine) as conn:
            insert_jobs(conn, insert_orders(conn, moments, first_id=first_id, skus=SKUS), moments)
        first_id += len(moments)


def everything(world: World) -> None:
    """All of it at once, but for the clocks."""
    _at_once(world, kill_daemons, kill_database, lose_redis, kill_connections, freeze_daemons, kill_shop, poison)


def _at_once(world: World, *faults: Fault) -> None:
    errors: list[BaseException] = []

    def guarded(fault: Fault) -> None:
        try:
            fault(world)
        except BaseException as ex:  # noqa: BLE001 - handed to the thread that waits
            errors.append(ex)

    threads = [threading.Thread(target=guarded, args=(fault,)) for fault in faults]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def start_daemons(n: int) -> Callable[[World], None]:
    return lambda world: world.add_daemons(n)


def start_skewed(*offsets: str) -> Callable[[World], None]:
    """One daemon with a right clock in an odd time zone, and one for each wrong clock."""

    def start(world: World) -> None:
        world.add_daemons(1, TZ="Europe/Berlin")
        for offset in offsets:
            world.add_daemons(1, before=["env", *faketime_env(FAKETIME=offset)], TZ="America/New_York")

    return start


def start_two_versions(world: World) -> None:
    """Today's daemon beside one that knows only the kind that today's calls by its old name."""
    world.add_daemons(1)
    world.add_daemons(1, module=("tests.faults.older",))


SCENARIOS: dict[str, tuple[Callable[[World], None], Fault]] = {
    "nothing, one daemon": (start_daemons(1), nothing),
    "nothing, two daemons": (start_daemons(2), nothing),
    "nothing, four daemons": (start_daemons(4), nothing),
    "10,000 due in one second": (start_daemons(1), burst),
    "kill -9 daemons": (start_daemons(2), kill_daemons),
    "kill -9 in a flood": (start_daemons(2), kill_in_a_flood),
    "kill -9 the only daemon": (start_daemons(1), kill_daemons),
    "SIGTERM in a batch": (start_daemons(2), terminate_daemons),
    "kill -9 MariaDB": (start_daemons(2), kill_database),
    "lose Redis": (start_daemons(1), lose_redis),
    "KILL connections": (start_daemons(2), kill_connections),
    "freeze daemons": (start_daemons(2), freeze_daemons),
    "daemon clocks +1 h, -1 h": (start_skewed("+1h", "-1h"), nothing),
    "daemon clocks -1 d, +1 y": (start_skewed("-1d", "+1y"), nothing),
    "database clock +1 h, -1 h": (start_daemons(2), set_database_clock),
    "poison and unknown kinds": (start_daemons(1), poison),
    "two versions": (start_two_versions, nothing),
    "kill -9 the gateway": (start_daemons(1), kill_shop),
    "read-only database": (start_daemons(2), make_read_only),
    "no connections": (start_daemons(2), exhaust_connections),
    "all at once": (start_daemons(3), everything),
}
# What brings each mistake to light.
TEETH: dict[str, Fault] = {
    "unchecked": nothing,
    "deletes_first": kill_in_a_flood,
    "own_clock": nothing,
    "stock_outside": kill_in_a_flood,
    "hints": lambda world: world.pause(60) and None,  # type: ignore[func-returns-value]
}
assert set(TEETH) == set(MISTAKES)


def run(
    name: str, database: FakedClockMariaDB, redis_server: RedisServer, *, seed: int, folder: Path, load_s: float
) -> Counter[str]:
    """Violations by invariant of one scenario, or of one wrong daemon under the fault that fits it."""
    with world(database, redis_server, seed, folder) as made:
        if name in TEETH:
            made.add_daemons(2, module=("tests.faults.wrong", name))
            fault = TEETH[name]
        else:
            start, fault = SCENARIOS[name]
            start(made)
        made.open_shop()
        threading.Timer(load_s, made.stopping.set).start()
        found: Counter[str] = Counter()
        try:
            fault(made)
        except AssertionError:
            if name not in TEETH:
                raise
            found["I1"] += 1
        made.stopping.wait()
        made.supervise()
        return found + made.settle()


def _replace(world: World, daemon: Process, number: int) -> None:
    world.supervise()
    # A daemon that is killed before it has begun proves nothing.
    deadline = time.monotonic() + 5
    while not daemon.is_up() and daemon.is_running and time.monotonic() < deadline and not world.pause(0.05):
        pass
    _wait_for_batch(world)
    daemon.kill(number)
    daemon.start()


def _wait_for_batch(world: World) -> None:
    """Return while some daemon is inside a transaction, if that can be had within a second."""
    for _ in range(200):
        if world.execute("SELECT 1 FROM information_schema.innodb_trx WHERE trx_rows_modified > 0 LIMIT 1"):
            return
        if world.pause(0.005):
            return
