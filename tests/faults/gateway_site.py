"""A gateway to be rude to, beside a recommender, a Redis and a database of its own.

with start_gateway(folder) as gateway:
    gateway.rss_mib()
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pymysql
from sqlalchemy import insert, make_url

from tests.faults.rpc_site import SECRET_KEY, Site, start_site
from tests.faults.world import Process
from tests.lab.servers import free_port, wait_until
from tidings.http.reader_id import FIRST_ID, ReaderSigner
from tidings.process.clock import now_ms
from tidings.process.errors import PREFIX
from tidings.process.settings import read_settings
from tidings.reading.acts import Action
from tidings.reading.tracking import Shown, Tracker
from tidings.shop import stock
from tidings.shop.tables import sku
from tidings.store.engine import make_engine, transaction

PRODUCT, PIECES = 1, 1_000_000
START_S = 60.0


@dataclass
class GatewaySite:
    """A site whose door stands open."""

    site: Site
    process: Process
    port: int

    def processes(self) -> list[psutil.Process]:
        """The gateway's master and its workers."""
        assert self.process.popen is not None
        master = psutil.Process(self.process.popen.pid)
        return [master, *master.children()]

    def rss_mib(self) -> float:
        return float(sum(each.memory_info().rss for each in self.processes())) / 2**20

    def cpu_s(self) -> float:
        """How long its processes have run on a core."""
        return float(sum(sum(each.cpu_times()[:2]) for each in self.processes()))

    @property
    def database_url(self) -> str:
        return self.site.settings[f"{PREFIX}DATABASE_URL"]


@contextmanager
def start_gateway(
    folder: Path, database_url: str = "", **settings: object
) -> Iterator[GatewaySite]:
    """A gateway with `settings` by their names, ready to be asked, and plenty of one product."""
    with start_site(folder, database_url=database_url) as site:
        site.add()
        _stock(site.settings[f"{PREFIX}DATABASE_URL"])
        port, metrics_port = free_port(), free_port()
        values = {
            "gateway_bind": f"127.0.0.1:{port}",
            "gateway_metrics_bind": f"127.0.0.1:{metrics_port}",
            "recommender_endpoints": site.recommenders[0].bind,
            "recommender_allow_plaintext": "true",
            **settings,
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        env = kept | site.settings
        env |= {PREFIX + name.upper(): str(value) for name, value in values.items()}
        command = [sys.executable, "-m", "gateway"]
        process = Process("gateway", command, env, folder / "gateway.log", metrics_port)
        process.start()
        try:
            wait_until(lambda: process.is_up() or not process.is_running, START_S, "the gateway")
            assert process.is_running, process.log.read_text()[-3000:]
            yield GatewaySite(site, process, port)
        finally:
            process.kill()


def returned_readers(number: int) -> list[str]:
    """Signed ids as readers send them who have been here before."""
    signer = ReaderSigner([SECRET_KEY.encode()])
    return [signer.sign(FIRST_ID + serial) for serial in range(number)]


def seen_batch(reader: str) -> str:
    """A report of an exposure, which may be sent again and again."""
    shown = Shown(Action.EXPOSURE, int(reader.partition(".")[0]), 0, stamp_ms=now_ms())
    token = Tracker([SECRET_KEY.encode()]).issue(shown, now_ms())
    return f'{{"events":[{{"track":"{token}"}}]}}'


@contextmanager
def rows_locked(url: str) -> Iterator[None]:
    """Inside the block another program keeps what every order has to write: the whole database on
    SQLite, the products' rows on MariaDB."""
    parts = make_url(url)
    if parts.get_backend_name() == "sqlite":
        assert parts.database is not None
        held = sqlite3.connect(parts.database, isolation_level=None, timeout=20)
        held.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            held.execute("ROLLBACK")
            held.close()
        return
    with (
        pymysql.connect(
            host=parts.host,
            port=parts.port or 3306,
            user=parts.username,
            password=parts.password or "",
            database=parts.database,
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT * FROM sku FOR UPDATE")
        yield
        connection.rollback()


def _stock(url: str) -> None:
    engine = make_engine(read_settings(None, database_url=url).database)
    with transaction(engine) as conn:
        plain = {"price_cents": 100, "currency": "EUR", "quantity": 0}
        conn.execute(insert(sku), [{"id": PRODUCT, "title": "Edition", **plain}])
        stock.receive(conn, PRODUCT, PIECES, delivery=1)
    engine.dispose()
