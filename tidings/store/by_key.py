"""Rows of known ids, reached by the primary key and never by reading the table from end to end.

`WHERE id IN (…)` leaves the choice to MySQL, and of a table that is small just now it reads every
row: a locking statement then waits for rows that it does not want, and two such statements for each
other. A join from a list of ids leaves no choice. Rejected: FORCE INDEX (PRIMARY) alone,
since to MySQL the whole table is that index, too.

    delete_by_key(conn, delayed_job, [3, 5, 8])
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Select,
    Table,
    TextClause,
    bindparam,
    column,
    select,
    text,
)

from tidings.store.metadata import Id

HINT = "FORCE INDEX (PRIMARY)"
_JSON_TABLE = (
    "JSON_TABLE(:wanted, '$[*]' COLUMNS (id BIGINT PATH '$[0]', n BIGINT PATH '$[1]')) AS wanted"
)
_JSON_EACH = (
    "(SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS n FROM "
    "json_each(:wanted)) AS wanted"
)


def select_by_key(
    conn: Connection, table: Table, key: str, ids: Iterable[int], *columns: Any
) -> Select[Any]:
    """A SELECT of those rows of `table` whose `key`, the first column of its primary key, is among
    `ids`.

    With `with_for_update` it locks them in the order of their ids.
    """
    listed = _JSON_EACH if conn.dialect.name == "sqlite" else _JSON_TABLE
    query = text(f"SELECT wanted.id FROM {listed}").bindparams(_wanted((id_, 0) for id_ in ids))  # noqa: S608
    wanted = query.columns(column("id", Id)).subquery("listed")
    found = select(*columns).select_from(wanted.join(table, table.c[key] == wanted.c.id))
    for dialect in ("mysql", "mariadb"):
        found = found.with_hint(table, HINT, dialect).prefix_with("STRAIGHT_JOIN", dialect=dialect)
    return found


def update_by_key(
    conn: Connection, table: Table, rows: Mapping[int, int], assignments: str, **values: Any
) -> int:
    """UPDATE the rows of these ids, in the order of their ids; returns how many there were.

    Args:
        rows: id → a number, which `assignments` may use as `wanted.n`.
        assignments: what stands after SET, the same on every database; `:name` stands for a value.
        values: name → value, of the type of the column of that name.
    """
    if conn.dialect.name == "sqlite":
        where = f"{table.name}.id = wanted.id"
        sql = f"UPDATE {table.name} SET {assignments} FROM {_JSON_EACH} WHERE {where}"  # noqa: S608
    else:
        joined = f"{_JSON_TABLE} STRAIGHT_JOIN {table.name} {HINT} ON {table.name}.id = wanted.id"
        sql = f"UPDATE {joined} SET {assignments}"  # noqa: S608 - names of tables and columns, no data
    typed = [bindparam(name, value, type_=table.c[name].type) for name, value in values.items()]
    return conn.execute(text(sql).bindparams(_wanted(rows.items()), *typed)).rowcount


def delete_by_key(conn: Connection, table: Table, ids: Iterable[int]) -> int:
    """DELETE the rows of these ids; returns how many there were."""
    statement = _delete(table, is_sqlite=conn.dialect.name == "sqlite")
    return conn.execute(statement.bindparams(_wanted((id_, 0) for id_ in ids))).rowcount


def _delete(table: Table, *, is_sqlite: bool) -> TextClause:
    if is_sqlite:
        return text(f"DELETE FROM {table.name} WHERE id IN (SELECT wanted.id FROM {_JSON_EACH})")  # noqa: S608
    joined = f"{_JSON_TABLE} STRAIGHT_JOIN {table.name} {HINT} ON {table.name}.id = wanted.id"
    return text(f"DELETE {table.name} FROM {joined}")


def _wanted(pairs: Iterable[tuple[int, int]]) -> BindParameter[str]:
    return bindparam("wanted", json.dumps(sorted(pairs), separators=(",", ":")))
