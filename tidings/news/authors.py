"""Who articles are by. An author is a name until authors have accounts.

with transaction(engine) as conn:
    ids = ensure_authors(conn, {"Ada Byron"})

    author_id = ensure_authors(conn, {"Ottoline Fernwhistle"})["Ottoline Fernwhistle"]
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Set as AbstractSet

from sqlalchemy import Connection, insert, select

from tidings.news.tables import author


class AuthorNotFoundError(Exception):
    """There is no such author."""

    def __init__(self, author_id: int) -> None:
        super().__init__(f"there is no author {author_id}")
        self.author_id = author_id


def read_author_names(conn: Connection) -> dict[int, str]:
    """Id → name of every author."""
    rows = conn.execute(select(author.c.id, author.c.name))
    return {row.id: str(row.name) for row in rows}


def find_author_names(conn: Connection, ids: Collection[int]) -> dict[int, str]:
    """Id → name, for those of these authors that there are."""
    rows = conn.execute(select(author.c.id, author.c.name).where(author.c.id.in_(ids)))
    return {row.id: str(row.name) for row in rows}


def ensure_authors(conn: Connection, names: AbstractSet[str]) -> dict[str, int]:
    """Name → id of these authors; those that are missing are made.

    Raises:
        IntegrityError: another transaction made one of them meanwhile; run this one again.
    """
    ids = _ids(conn, names)
    # In order, so that two imports wait for each other instead of dead-locking.
    if missing := sorted(names - ids.keys()):
        conn.execute(insert(author), [{"name": name} for name in missing])
        ids = _ids(conn, names)
    return ids


def _ids(conn: Connection, names: AbstractSet[str]) -> dict[str, int]:
    if not names:
        return {}
    found = conn.execute(select(author.c.name, author.c.id).where(author.c.name.in_(list(names))))
    return {str(row.name): row.id for row in found}
