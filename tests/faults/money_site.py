"""A shop to break: MariaDB, Redis, two gateways and a daemon as processes, and a bank beside them.

with open_shop(database, redis, seed=7, folder=folder) as shop:
    shop.kill(shop.daemon)
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import Engine, insert, text

from tests.faults.money_bank import Bank
from tests.faults.providers.bank import PORT_VARIABLE
from tests.faults.world import REPOSITORY, Process
from tests.lab.servers import MariaDBServer, RedisServer, free_port, wait_until
from tests.lab.sites import TIDINGS
from tidings.process.errors import PREFIX
from tidings.process.settings import read_settings
from tidings.shop import stock
from tidings.shop.providers.sandbox import derive_keys
from tidings.shop.tables import sku
from tidings.store.engine import make_engine, transaction
from tidings.store.migrate import migrate

SECRET_KEY = "0123456789abcdef" * 4
START_S = 60.0
# Programs by their modules, and what their settings begin with.
METRICS_OF = {"gateway": "GATEWAY", "jobs": "JOBS", "services.recommender": "RECOMMENDER"}
# Product → price in cents and pieces. Equal orders want all of SCARCE, a crowd fights for HOT,
# and a few pieces of DEAR are worth more than one reader may hold.
PLENTY, SCARCE, HOT, DEAR = (1, 2, 3), 4, 5, 6
PRODUCTS = {
    **dict.fromkeys(PLENTY, (250, 100_000)),
    SCARCE: (100, 5),
    HOT: (100, 120),
    DEAR: (200_000, 1000),
}


@dataclass
class Shop:
    """Everything that can be asked, killed and looked at."""

    folder: Path
    url: str
    engine: Engine
    bank: Bank
    gateways: list[Process]
    daemon: Process
    ports: list[int]
    environment: dict[str, str]
    died: list[str] = field(default_factory=list)

    def kill(self, process: Process) -> None:
        """kill -9 a program and its workers."""
        assert process.popen is not None
        process.is_wanted = False
        with suppress(ProcessLookupError):
            os.killpg(process.popen.pid, signal.SIGKILL)
        process.popen.wait(60)

    def start(self, process: Process) -> None:
        """Return when it is up."""
        process.start()
        self.wait_for(process)

    def wait_for(self, process: Process) -> None:
        wait_until(lambda: process.is_up() or not process.is_running, START_S, process.name)
        assert process.is_running, process.log.read_text()[-3000:]

    def look_after(self) -> None:
        """Note which programs have ended without being told to."""
        for process in (*self.gateways, self.daemon):
            if process.is_wanted and not process.is_running:
                assert process.popen is not None
                self.died.append(f"{process.name} exited {process.popen.returncode}")
                self.start(process)

    def count(self, query: str) -> int:
        with self.engine.connect() as conn:
            return int(conn.scalar(text(query)) or 0)

    def command(self, *words: str) -> list[dict[str, Any]]:
        """What `tidings WORDS --json` prints."""
        done = subprocess.run(
            [str(TIDINGS), *words, "--json"],
            env=self.environment,
            cwd=REPOSITORY,
            capture_output=True,
            check=True,
            timeout=60,
        )
        return [json.loads(line) for line in done.stdout.decode().splitlines()]


@contextmanager
def open_shop(
    database: MariaDBServer,
    redis_server: RedisServer,
    *,
    seed: int,
    folder: Path,
    mistake: str = "",
    gateways: int = 2,
    **settings: object,
) -> Iterator[Shop]:
    """A fresh shop on those servers; `settings` by their names, `mistake` as in
    `money_processes`."""
    with redis.Redis.from_url(redis_server.url, socket_timeout=30) as client:
        client.flushall()
    url = database.new_database()
    engine = make_engine(read_settings(None, database_url=url).database)
    migrate(engine)
    with transaction(engine) as conn:
        plain = {"currency": "EUR", "quantity": 0}
        rows = [
            {"id": id_, "title": f"E{id_}", "price_cents": cents, **plain}
            for id_, (cents, _) in PRODUCTS.items()
        ]
        conn.execute(insert(sku), rows)
        for id_, (_, pieces) in PRODUCTS.items():
            stock.receive(conn, id_, pieces, delivery=id_)
    ports = [free_port() for _ in range(gateways)]
    (key,) = derive_keys([SECRET_KEY.encode()])
    with Bank(ports, key, seed=seed) as bank:
        values = {
            "database_url": url,
            "redis_url": redis_server.url,
            "secret_keys": SECRET_KEY,
            "var_dir": folder,
            "log_format": "json",
            "payment_provider": "bank",
            # The crowd here is of few readers who do much.
            "gateway_limit_order": 0,
            "recommender_bind": f"127.0.0.1:{free_port()}",
            **settings,
        }
        kept = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        kept = {key: value for key, value in kept.items() if not key.startswith("COVERAGE_")}
        environment = kept | {PREFIX + name.upper(): str(value) for name, value in values.items()}
        environment[PORT_VARIABLE] = str(bank.port)
        doors = [
            make_process(
                f"gateway{n}",
                "gateway",
                environment | {f"{PREFIX}GATEWAY_BIND": f"127.0.0.1:{port}"},
                folder=folder,
                mistake=mistake,
            )
            for n, port in enumerate(ports)
        ]
        daemon = make_process("daemon", "jobs", environment, folder=folder, mistake=mistake)
        shop = Shop(
            folder,
            url,
            engine,
            bank=bank,
            gateways=doors,
            daemon=daemon,
            ports=ports,
            environment=environment,
        )
        processes = (*doors, daemon)
        try:
            for process in processes:
                process.start()
            for process in processes:
                shop.wait_for(process)
            yield shop
        finally:
            for process in processes:
                if process.popen is not None:
                    shop.kill(process)
            engine.dispose()


def make_process(
    name: str,
    program: str,
    environment: Mapping[str, str],
    *,
    folder: Path,
    mistake: str = "",
) -> Process:
    """One of the site's programs, not started yet; `mistake` as in `money_processes`."""
    port = free_port()
    setting = f"{PREFIX}{METRICS_OF[program]}_METRICS_BIND"
    return Process(
        name,
        [sys.executable, "-m", "tests.faults.money_processes", program, mistake],
        {**environment, setting: f"127.0.0.1:{port}"},
        folder / f"{name}.log",
        port=port,
    )
