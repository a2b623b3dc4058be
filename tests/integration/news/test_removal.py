"""Channels that are closed once nothing stands in them, on both databases."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine, insert

from tests.conftest import MakeSettings
from tests.lab.newsroom import Clock, Newsroom
from tests.lab.servers import wait_until
from tidings.news.channels import ensure_channels, read_channels
from tidings.news.removal import close_empty_channels
from tidings.news.tables import article
from tidings.process.clock import now_ms
from tidings.store.engine import database_now, make_engine, transaction
from tidings.store.transacting import transact


def open_channels(engine: Engine) -> list[int]:
    with engine.connect() as conn:
        return [known.channel_id for known in read_channels(conn)]


def test_only_what_is_empty_is_closed_and_a_source_opens_it_anew(engine: Engine) -> None:
    room = Newsroom(engine, Clock(now_ms()))
    room.channels(1, 2, 3)
    room.article(channel_id=2)

    with transaction(engine) as conn:
        close_empty_channels(conn, [1, 2])
    assert open_channels(engine) == [2, 3]

    with transaction(engine) as conn:
        assert ensure_channels(conn, {"channel-1": "Channel 1"}) == {"channel-1": 1}
    assert open_channels(engine) == [1, 2, 3]


def test_a_channel_stays_open_in_which_an_import_is_just_storing(
    mariadb_url: str, make_settings: MakeSettings
) -> None:
    """Trap: a look that waits for no other finds it empty, and hides what is stored then. On SQLite
    no other writes meanwhile."""
    engine = make_engine(make_settings(database_url=mariadb_url).database)
    Newsroom(engine, Clock(now_ms())).channels(1)

    def close() -> None:
        # Again, where the import has held its lock for longer than one waits for it.
        transact(engine, lambda conn: close_empty_channels(conn, [1]))

    with ThreadPoolExecutor(1) as pool:
        with transaction(engine) as conn:
            ensure_channels(conn, {"channel-1": "Channel 1"})
            now = database_now(conn)
            values = {"source_id": "a", "channel_id": 1, "title": "T", "summary": "", "body": ""}
            moments = {"published_at": now, "updated_at": now}
            conn.execute(insert(article).values(status="published", **values, **moments))
            closing = pool.submit(close)
            wait_until(lambda: _waits_for_a_lock(engine), 60, "the look to wait for the import")
        closing.result(60)

    assert open_channels(engine) == [1]
    engine.dispose()


def _waits_for_a_lock(engine: Engine) -> bool:
    # InnoDB makes this table anew only for one who has not read it for a tenth of a second.
    time.sleep(0.2)
    with engine.connect() as conn:
        waiting = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
        return bool(conn.exec_driver_sql(waiting).scalar())
