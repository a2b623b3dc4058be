"""The ground every test stands on: its own settings, its own database, its own Redis, shared with
no other test.

Servers start when the first test asks for one, so a run of unit tests starts none. A server that
cannot be started fails the test that wants it, and says what to install; nothing is skipped.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis
import pytest
import redis
import structlog
from pymysql.connections import Connection
from sqlalchemy import Engine, make_url

from tests.lab.servers import (
    NO_RETRY,
    MariaDBServer,
    RedisServer,
    let_children_be_interrupted,
    start_mariadb,
    start_redis,
)
from tests.lab.sites import UNLIMITED
from tidings.process import site_folder
from tidings.process.errors import PREFIX
from tidings.process.settings import Settings, describe, flat_names, read_settings
from tidings.store.engine import make_engine
from tidings.store.migrate import migrate

SECRET_KEY = "0123456789abcdef" * 4
NOWHERE = "127.0.0.1:1"

let_children_be_interrupted()

# Collecting makes a million objects that all stay, and Python would look through them again and
# again for some that do not: two fifths of the time that it takes.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """From here on what tests leave is looked for, and only that."""
    gc.enable()
    gc.freeze()


# A loaded machine is no finding.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

# PyMySQL reads the CA certificates anew for each connection, 30 ms, and the suite's servers have no
# TLS; what a test says of TLS itself is done as usual.
_make_context = vars(Connection)["_create_ssl_ctx"]
_usual_context = cache(lambda: _make_context(None, {}))
mock.patch.object(
    Connection,
    "_create_ssl_ctx",
    lambda self, given: _make_context(self, given) if given else _usual_context(),
).start()

MakeSettings = Callable[..., Settings]

_numbers = count()


@pytest.fixture(scope="session")
def _state_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, _state_home: Path) -> Iterator[None]:
    """No setting comes in from outside, and no environment, log set-up or log context gets out to
    the next test."""
    monkeypatch.setattr(site_folder, "ENV_FILE", "no.env")
    monkeypatch.setattr(site_folder, "PROGRAM", Path(os.devnull))
    configure = structlog.configure
    # The default traceback draws every frame's variables, which takes longer than most tests.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])
    # A logger that caches its set-up would keep this test's for the rest of the run.
    monkeypatch.setattr(
        structlog,
        "configure",
        lambda **options: configure(**options | {"cache_logger_on_first_use": False}),
    )
    with mock.patch.dict(os.environ):
        for key in [key for key in os.environ if key.startswith(PREFIX)]:
            del os.environ[key]
        # Where the site that was started last is remembered: in a folder that is not there yet.
        os.environ["XDG_STATE_HOME"] = str(_state_home / str(next(_numbers)))
        yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def make_settings(tmp_path: Path) -> MakeSettings:
    """Settings as a function: files under `tmp_path`, every door on port 0, and a Redis that is not
    there."""

    def make(**values: Any) -> Settings:
        quiet: dict[str, Any] = {
            name: "127.0.0.1:0" for name in flat_names() if name.endswith("_bind")
        }
        quiet |= {
            "var_dir": tmp_path / "var",
            "database_url": f"sqlite:///{tmp_path}/var/tidings.db",
            "redis_url": f"redis://{NOWHERE}/0",
            "recommender_endpoints": (NOWHERE,),
            "secret_keys": (SECRET_KEY,),
        }
        return read_settings(None, **quiet | values)

    return make


@pytest.fixture
def environment(make_settings: MakeSettings) -> Callable[..., dict[str, str]]:
    """The environment for a child process with these settings: `subprocess.run(…,
    env=environment(redis_url=…))`. As many requests are answered as a test can send: how many
    these are depends on the machine."""

    def make(**values: Any) -> dict[str, str]:
        settings = make_settings(**UNLIMITED | values)
        chosen = {
            setting.variable: ",".join(setting.value)
            if isinstance(setting.value, tuple)
            else str(setting.value)
            for setting in describe(settings)
            if setting.is_given and setting.value is not None
        }
        return {**os.environ, **chosen}

    return make


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDBServer]:
    """The suite's MariaDB. Prefer `mariadb_url`; to kill or freeze a server,
    `tests.lab.servers.start_mariadb`."""
    with start_mariadb() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The suite's Redis. Prefer `redis_url`; to kill or freeze a server,
    `tests.lab.servers.start_redis`."""
    with start_redis() as server:
        yield server


@pytest.fixture
def redis_client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client of an empty Redis."""
    with redis.Redis.from_url(redis_server.url, socket_timeout=60, retry=NO_RETRY) as client:
        client.flushall()
        yield client


@pytest.fixture
def redis_url(redis_server: RedisServer, redis_client: redis.Redis) -> str:
    """The URL of an empty Redis."""
    return redis_server.url


@pytest.fixture(scope="session")
def _sqlite_schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "tidings.db"
    engine = make_engine(_plain_settings(f"sqlite:///{path}").database)
    migrate(engine)
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def _mariadb_schema(mariadb: MariaDBServer) -> list[str]:
    """The statements that make a database like a migrated one: a fifth of the time that the
    migrations take."""
    url = mariadb.new_database()
    engine = make_engine(_plain_settings(url).database)
    migrate(engine)
    engine.dispose()
    name = make_url(url).database
    statements = ["SET foreign_key_checks = 0"]
    for (table,) in mariadb.execute(f"SHOW TABLES FROM {name}"):
        ((_, create),) = mariadb.execute(f"SHOW CREATE TABLE {name}.{table}")
        statements += [create, f"INSERT INTO {table} SELECT * FROM {name}.{table}"]
    return statements


@pytest.fixture
def sqlite_url(_sqlite_schema: Path, tmp_path: Path) -> str:
    """An SQLite file of one's own, with the newest schema."""
    path = tmp_path / "var" / "tidings.db"
    path.parent.mkdir(exist_ok=True)
    shutil.copy(_sqlite_schema, path)
    return f"sqlite:///{path}"


@pytest.fixture
def mariadb_url(mariadb: MariaDBServer, _mariadb_schema: list[str]) -> Iterator[str]:
    """A MariaDB database of one's own, with the newest schema."""
    url = mariadb.new_database()
    mariadb.execute(f"USE {make_url(url).database}", *_mariadb_schema)
    yield url
    mariadb.drop_database(url)


@pytest.fixture(params=["sqlite", "mariadb"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A database of one's own with the newest schema: the test runs once on SQLite and once on
    MariaDB."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(params=["sqlite", "mariadb"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of one's own with nothing in it, on SQLite and on MariaDB."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    server: MariaDBServer = request.getfixturevalue("mariadb")
    url = server.new_database()
    yield url
    server.drop_database(url)


@pytest.fixture
def engine(database_url: str, make_settings: MakeSettings) -> Iterator[Engine]:
    """An engine on `database_url`, on SQLite and on MariaDB."""
    engine = make_engine(make_settings(database_url=database_url).database)
    yield engine
    engine.dispose()


def _plain_settings(url: str) -> Settings:
    return read_settings(None, database_url=url)
