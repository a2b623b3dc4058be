"""What the jobs' benchmark runs on: MariaDB as in production, Redis, a daemon of its own, and
orders to expire."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import insert, text

from tests.faults.backlog import insert_jobs, insert_orders
from tests.lab.servers import MariaDBServer, RedisServer, free_port, wait_until
from tidings.process.errors import PREFIX
from tidings.process.settings import read_settings
from tidings.shop import stock
from tidings.shop.tables import sku
from tidings.store.engine import make_engine, transaction
from tidings.store.migrate import migrate

SKUS = 50
HOT_SKU, HOT_STOCK = SKUS + 1, 100


class DurableMariaDB(MariaDBServer):
    """As in production: what was committed is on the disk."""

    def _command(self) -> list[str]:
        durable = [
            "--innodb-flush-method=fsync",
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-doublewrite=1",
        ]
        return [
            *super()._command(),
            *durable,
            "--innodb-buffer-pool-size=1G",
            "--innodb-log-file-size=256M",
        ]


class Site:
    """A shop with full shelves."""

    def __init__(self, database: MariaDBServer, redis: RedisServer, folder: Path) -> None:
        self.database, self.redis, self.folder = database, redis, folder
        self.url = database.new_database()
        values: dict[str, Any] = {
            "database_url": self.url,
            "redis_url": redis.url,
            "database_pool_size": 40,
        }
        self.settings = read_settings(None, var_dir=folder, **values)
        self.engine = make_engine(self.settings.database)
        self._next_id = 1_000_000
        migrate(self.engine)
        pieces = dict.fromkeys(range(1, SKUS + 1), 10_000_000) | {HOT_SKU: HOT_STOCK}
        with transaction(self.engine) as conn:
            plain = {"price_cents": 100, "currency": "EUR", "quantity": 0}
            conn.execute(insert(sku), [{"id": n, "title": f"E{n}", **plain} for n in pieces])
            for n, number in pieces.items():
                stock.receive(conn, n, number, delivery=n)

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Self]:
        with ExitStack() as stack:
            one, two, three = (
                Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-")))
                for _ in range(3)
            )
            database = stack.enter_context(DurableMariaDB(one))
            site = cls(database, stack.enter_context(RedisServer(two, ())), three)
            stack.callback(site.engine.dispose)
            yield site

    def environment(self, **more: object) -> dict[str, str]:
        ours = {
            "database_url": self.url,
            "redis_url": self.redis.url,
            "secret_keys": "0123456789abcdef" * 4,
            "var_dir": self.folder,
            "jobs_metrics_bind": f"127.0.0.1:{free_port()}",
            **more,
        }
        return {"PATH": "/usr/bin:/bin"} | {
            PREFIX + name.upper(): str(value) for name, value in ours.items()
        }

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """The daemon as it is started in production, with all that it has to do there."""
        with (self.folder / "daemon.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "jobs"], env=self.environment(), stderr=log
            )
        try:
            wait_until(lambda: bool(self.ask("SELECT COUNT(*) FROM daemon")), 30, "the daemon")
            time.sleep(1.5)  # its static jobs catch up first
            yield
        finally:
            process.terminate()
            process.wait(20)

    @contextmanager
    def crowd(self, gateways: int, plan: dict[str, Any]) -> Iterator[None]:
        """Readers who order until the block ends."""
        command = [sys.executable, "-m", "tests.faults.shopkeeper"]
        crowd = []
        for n in range(gateways):
            env = self.environment(database_pool_size=40)
            crowd.append(subprocess.Popen([*command, json.dumps(plan | {"seed": str(n)})], env=env))
        try:
            yield
        finally:
            for gateway in crowd:
                gateway.kill()
                gateway.wait()

    def ask(self, query: str) -> Any:
        """One value."""
        with self.engine.connect() as conn:
            return conn.scalar(text(query))

    def fill(self, moments: Sequence[datetime]) -> range:
        """Unpaid orders whose expiry no job has promised yet."""
        with transaction(self.engine) as conn:
            ids = insert_orders(conn, moments, first_id=self._next_id, skus=SKUS)
        # Orders that are placed in between count on from here.
        self._next_id += len(moments) + 100_000
        return ids

    def promise(self, ids: range, moments: Sequence[datetime]) -> None:
        with transaction(self.engine) as conn:
            insert_jobs(conn, ids, moments)

    def wait_cancelled(self, first: int, last: int, timeout_s: float = 120) -> None:
        # From the highest: what expires last is cancelled last.
        waiting = f"SELECT id FROM orders WHERE id BETWEEN {first} AND {last} AND status = 'unpaid'"
        wait_until(
            lambda: self.ask(f"{waiting} ORDER BY id DESC LIMIT 1") is None,
            timeout_s,
            "orders to expire",
        )

    def lateness_s(self, first: int, last: int) -> list[float]:
        """How late each of these orders was cancelled, sorted; by the database's clock."""
        query = (
            "SELECT TIMESTAMPDIFF(MICROSECOND, expires_at, ended_at) / 1e6 FROM orders"
            f" WHERE id BETWEEN {first} AND {last} AND cancelled_for = 'expired'"
        )
        with self.engine.connect() as conn:
            return sorted(float(value) for value in conn.scalars(text(query)))

    def since_last_s(self, first: int, last: int) -> float:
        """How long ago the last of these orders should have expired."""
        moment = f"(SELECT MAX(expires_at) FROM orders WHERE id BETWEEN {first} AND {last})"
        return float(
            self.ask(f"SELECT TIMESTAMPDIFF(MICROSECOND, {moment}, UTC_TIMESTAMP(3)) / 1e6")
        )

    def span_s(self, ids: range) -> float:
        """From the first cancellation to the last."""
        query = (
            "SELECT TIMESTAMPDIFF(MICROSECOND, MIN(ended_at), MAX(ended_at)) / 1e6 FROM orders"
            f" WHERE id BETWEEN {ids[0]} AND {ids[-1]} AND status = 'cancelled'"
        )
        return float(self.ask(query) or 0)

    def count_deadlocks(self) -> int:
        ((_, number),) = self.database.execute("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
        return int(number)
