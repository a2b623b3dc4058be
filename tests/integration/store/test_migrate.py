"""Migrations on both databases: they give the schema that the tables describe, once, though another
process is migrating."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, event, insert, inspect, make_url, text

from jobs import tables as job_tables
from tests.conftest import MakeSettings
from tests.lab.servers import MariaDBServer
from tidings.editing.tables import audit
from tidings.news.tables import channel
from tidings.readers.tables import api_key
from tidings.reading.tables import behaviour
from tidings.shop import tables as order_tables
from tidings.shop.caps import TURNS
from tidings.sources.tables import source
from tidings.store import delayed_tables
from tidings.store import migrate as migrations
from tidings.store.engine import database_now, make_engine, transaction
from tidings.store.metadata import metadata
from tidings.store.migrate import migrate
from tidings.store.schema import SchemaError, check_schema, known_revisions, schema_reader
from tidings.talk import tables as talk_tables

# Each module of tables adds its own to the one description of the schema.
TABLES = {
    channel,
    api_key,
    audit,
    behaviour,
    source,
    delayed_tables.delayed_job,
    job_tables.job_run,
    order_tables.orders,
    talk_tables.message,
}
OUR_PACKAGES = {"tidings", "gateway", "services", "jobs"}
ORDER = {"status": "cancelled", "total_cents": 450, "currency": "EUR"} | dict.fromkeys(
    ("idempotency_key", "request_hash"), "k"
)
MIGRATE = [sys.executable, "-c", "from tidings.commands.main import main; main()", "migrate"]


@pytest.fixture
def empty_engine(empty_database_url: str, make_settings: MakeSettings) -> Iterator[Engine]:
    engine = make_engine(make_settings(database_url=empty_database_url).database)
    yield engine
    engine.dispose()


def test_the_migrations_give_what_the_tables_describe(empty_engine: Engine) -> None:
    """A column that was added to `tables.py` and to no migration exists on no server."""
    migrate(empty_engine)

    with empty_engine.connect() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)

    assert set(metadata.sorted_tables) > TABLES
    assert differences == []


def test_migrating_twice_changes_nothing(empty_engine: Engine) -> None:
    """A deployment that runs `tidings migrate` each time costs one look."""
    first = migrate(empty_engine)
    tables = inspect(empty_engine).get_table_names()

    assert migrate(empty_engine) == first
    assert inspect(empty_engine).get_table_names() == tables
    check_schema(empty_engine)


@pytest.mark.parametrize("changes", [0, 1, 5, 7, 10, 12, 20, 30])
def test_a_migration_that_was_killed_half_way_goes_on_from_there(
    empty_engine: Engine, changes: int
) -> None:
    """MariaDB commits each change of a table by itself. From the sixth revision on."""
    with migrations._migration_lock(empty_engine) as conn:
        command.upgrade(migrations._config(conn), "0005")
    made: list[str] = []

    def kill(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip().startswith(("CREATE", "ALTER")):
            if len(made) == changes:
                raise KeyboardInterrupt
            made.append(statement)

    event.listen(empty_engine, "before_cursor_execute", kill)
    with pytest.raises(KeyboardInterrupt):
        migrate(empty_engine)
    event.remove(empty_engine, "before_cursor_execute", kill)

    migrate(empty_engine)

    with empty_engine.connect() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert conn.scalar(text("SELECT COUNT(*) FROM order_turn")) == TURNS


def test_what_a_revision_adds_is_gone_after_its_downgrade(empty_engine: Engine) -> None:
    """What stayed would stand in the way of new rows that get the same numbers."""
    with migrations._migration_lock(empty_engine) as conn:
        command.upgrade(migrations._config(conn), "0006")
    before = inspect(empty_engine).get_table_names()
    migrate(empty_engine)

    with migrations._migration_lock(empty_engine) as conn:
        command.downgrade(migrations._config(conn), "0006")

    assert inspect(empty_engine).get_table_names() == before


def test_programs_of_before_find_what_is_owed_after_a_downgrade(empty_engine: Engine) -> None:
    """They send refunds that are `owed`, and would show a `dead` one nowhere."""
    migrate(empty_engine)
    with transaction(empty_engine) as conn:
        now = database_now(conn)
        order = ORDER | {"created_at": now, "expires_at": now}
        conn.execute(insert(order_tables.orders).values(id=1, reader_id=7, **order))
        money = {"order_id": 1, "amount_cents": 450, "currency": "EUR", "created_at": now}
        paid = {"id": 1, "provider": "sandbox", "state": "succeeded"}
        conn.execute(insert(order_tables.payment).values(**paid, **money))
        owed = {"payment_id": 1, "reason": "late", "state": "dead"}
        conn.execute(insert(order_tables.refund).values(**owed, **money))

    with migrations._migration_lock(empty_engine) as conn:
        command.downgrade(migrations._config(conn), "0005")

    with empty_engine.connect() as conn:
        assert conn.scalar(text("SELECT state FROM refund")) == "owed"


def test_processes_that_migrate_at_once_all_succeed(
    empty_database_url: str, environment: Callable[..., dict[str, str]], make_settings: MakeSettings
) -> None:
    """Two hosts of one deployment start at the same moment: one migrates, the others find nothing
    left to do."""
    env = environment(database_url=empty_database_url)
    processes = [
        subprocess.Popen(
            MIGRATE, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    engine = make_engine(make_settings(database_url=empty_database_url).database)
    check_schema(engine)
    engine.dispose()


def test_a_schema_that_is_older_is_refused_with_the_command_that_helps(
    empty_engine: Engine,
) -> None:
    """A process in front of an old schema would fail later, at some reader's request."""
    with pytest.raises(SchemaError, match=r"revision none.*`tidings migrate`"):
        check_schema(empty_engine)


def upgrade_beyond_this_program(engine: Engine, *, min_reader: int) -> None:
    """The database as a later version leaves it, which programs from `min_reader` on can use."""
    with transaction(engine) as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        conn.execute(schema_reader.update().values(min_reader=min_reader))


def test_a_newer_schema_that_is_marked_as_compatible_is_used(engine: Engine) -> None:
    """During an upgrade old processes run on beside the new ones, and one that restarts meanwhile
    finds the new schema; to migrate it has nothing to do."""
    head = migrate(engine)
    upgrade_beyond_this_program(engine, min_reader=int(head))

    check_schema(engine)

    assert migrate(engine) == "9999"


def test_a_newer_schema_that_needs_newer_programs_is_refused(engine: Engine) -> None:
    """What this program would read or write is there no more, or means something else."""
    head = migrate(engine)
    upgrade_beyond_this_program(engine, min_reader=int(head) + 1)

    with pytest.raises(SchemaError, match=rf"9999.*cannot use.*{head}.*start a newer version"):
        check_schema(engine)
    with pytest.raises(SchemaError, match=r"9999.*does not know"):
        migrate(engine)


def test_a_newer_schema_that_says_nothing_is_refused(engine: Engine) -> None:
    """An unknown revision without the mark is not one that this program may try."""
    upgrade_beyond_this_program(engine, min_reader=1)
    with transaction(engine) as conn:
        schema_reader.drop(conn)

    with pytest.raises(SchemaError, match="9999"):
        check_schema(engine)


def test_an_upgrade_says_which_programs_can_use_the_schema_from_then_on(engine: Engine) -> None:
    """Written again by each upgrade over what stood there; one row, however often."""
    head = migrate(engine)
    with transaction(engine) as conn:
        conn.execute(schema_reader.update().values(min_reader=1))
    migrate(engine)
    migrate(engine)

    script = ScriptDirectory(Path(migrations.__file__).with_name("migrations"))
    oldest = script.get_revision(head).module.min_reader
    with engine.connect() as conn:
        assert conn.execute(schema_reader.select()).all() == [(1, oldest)]


def test_the_names_of_the_migrations_are_their_revisions() -> None:
    """A program at its start reads these names and asks no Alembic."""
    script = ScriptDirectory(Path(migrations.__file__).with_name("migrations"))

    assert known_revisions() == [found.revision for found in script.walk_revisions()][::-1]
    assert known_revisions()[-1] == script.get_current_head()


def test_each_revision_from_the_fourth_on_names_the_oldest_program_that_can_use_it() -> None:
    """A revision that leaves it out would pass for one that every program can use."""
    script = ScriptDirectory(Path(migrations.__file__).with_name("migrations"))
    revisions = {int(found.revision): found for found in script.walk_revisions()}
    stated = {n: found.module.min_reader for n, found in revisions.items() if n >= 4}

    assert all(1 <= oldest <= n for n, oldest in stated.items())
    assert [stated[n] for n in sorted(stated)] == sorted(stated.values())


def test_migrations_import_nothing_of_the_program_but_their_own_frozen_types() -> None:
    """What a migration did to one server it must do to the next, however the program's own types
    have changed meanwhile."""
    folder = Path(migrations.__file__).with_name("migrations")
    imported = {
        name
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }

    ours = {name for name in imported if name.partition(".")[0] in OUR_PACKAGES}
    assert ours == {"tidings.store.migrations.columns", "tidings.store.migrations.steps"}


def test_on_the_command_line_a_schema_that_is_too_new_is_one_line_and_exit_code_2(
    engine: Engine, database_url: str, environment: Callable[..., dict[str, str]]
) -> None:
    """Never a traceback for what an operator can understand."""
    upgrade_beyond_this_program(engine, min_reader=9999)

    done = subprocess.run(
        MIGRATE,
        env=environment(database_url=database_url),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "9999" in done.stderr


def test_the_wait_for_another_migration_is_bounded(
    mariadb: MariaDBServer,
    mariadb_url: str,
    make_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A migration that hangs elsewhere must not hang every deployment behind it without a word."""
    monkeypatch.setattr(migrations, "LOCK_WAIT_S", 1)
    engine = make_engine(make_settings(database_url=mariadb_url).database)
    with engine.connect() as other:
        other.execute(text("SELECT GET_LOCK(:name, 0)"), {"name": migrations.lock_name(engine)})

        with pytest.raises(SchemaError, match="another migration"):
            migrate(engine)

        other.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": migrations.lock_name(engine)})
    migrate(engine)
    engine.dispose()


def test_two_databases_of_one_server_migrate_at_the_same_time(
    mariadb: MariaDBServer,
    mariadb_url: str,
    make_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Trap: a named lock belongs to the whole server, not to the database that one is connected
    to."""
    monkeypatch.setattr(migrations, "LOCK_WAIT_S", 1)
    engine = make_engine(make_settings(database_url=mariadb_url).database)
    url = mariadb.new_database()
    neighbour = make_engine(make_settings(database_url=url).database)
    with migrations._migration_lock(engine):
        migrate(neighbour)
    neighbour.dispose()
    engine.dispose()
    mariadb.drop_database(url)


def test_every_table_is_utf8mb4_innodb_whatever_the_servers_default(
    mariadb: MariaDBServer, mariadb_url: str
) -> None:
    """The suite's server defaults to Latin-1, as one somewhere does."""
    name = make_url(mariadb_url).database
    tables = mariadb.execute(
        "SELECT table_name, engine, table_collation FROM information_schema.tables WHERE "
        f"table_schema = '{name}'"
    )

    ours = [row for row in tables if row[0] != "alembic_version"]
    assert len(ours) == len(metadata.tables)
    assert {row[1:] for row in ours} == {("InnoDB", "utf8mb4_unicode_ci")}
