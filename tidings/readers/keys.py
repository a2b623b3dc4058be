"""Keys for programs and staff: how one is made, listed and revoked.

A key is `tk_`, twelve hexadecimal digits that find its row, and 256 random bits. The database keeps
SHA-256 of it, so that a stolen backup opens no door. A slow hash such as argon2 is for passwords,
which people choose and machines guess; 256 random bits cannot be guessed, and a slow hash would
only let each request cost the site a tenth of a second. Rejected: signed tokens, which cannot be
taken back before they end.

    made = add_key(conn, "importer", Role.AUTHOR)
    made.secret  # "tk_09f3…_…", shown once and kept nowhere
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from tidings.readers.tables import api_key
from tidings.store.engine import database_now

# Above every account, which count from 1, and below every anonymous reader, from 2**52 on.
FIRST_READER_ID = 2**51
# As of every quota in the settings.
MOST_QUOTA = 1_000_000
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


class Role(StrEnum):
    """What a key may do; each role may do all that those before it may."""

    READER = "reader"
    AUTHOR = "author"
    EDITOR = "editor"
    OPERATOR = "operator"

    def covers(self, needed: Role) -> bool:
        """Whether this role may do what `needed` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class KeyNameTakenError(Exception):
    """A key of this name was made before; its name stays its own when it is revoked."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is, or was, a key named {name}; take another name")


class KeyNotFoundError(Exception):
    """No key was ever made under this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no key named {name}; `tidings keys list` shows those there are")


class Key(msgspec.Struct, frozen=True):
    """A key that opens the door.

    Attributes:
        quota: requests in a window of the limits; None for what the settings say.
    """

    key_id: int
    name: str
    role: Role
    quota: int | None = None

    @property
    def reader_id(self) -> int:
        """As whom it reads, orders and marks."""
        return FIRST_READER_ID + self.key_id


class NewKey(msgspec.Struct, frozen=True):
    """A key that was made just now. Its secret is the whole key, as it travels."""

    key: Key
    secret: str


class State(StrEnum):
    """Whether a key opens the door."""

    GOOD = "good"
    EXPIRED = "expired"
    REVOKED = "revoked"


class ListedKey(msgspec.Struct, frozen=True):
    """A key as lists show it: its beginning, and nothing that opens a door."""

    key_id: int
    name: str
    role: str
    reader_id: int
    prefix: str
    state: State
    quota: int | None
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


def add_key(
    conn: Connection,
    name: str,
    role: Role,
    *,
    expires_at: datetime | None = None,
    quota: int | None = None,
) -> NewKey:
    """Make a key.

    Args:
        quota: requests in a window of the limits; None for what the settings say.

    Raises:
        ValueError: the name or the quota cannot be used, or it would have ended before it began.
        KeyNameTakenError: a key has, or had, this name.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            "expected a name of 1 to 64 of the letters a-z, digits, `.`, `_`, `-`, that begins "
            f"with a letter or digit, got {name[:64]!r}"
        )
    if quota is not None and not 1 <= quota <= MOST_QUOTA:
        raise ValueError(f"expected 1 to {MOST_QUOTA} requests, got {quota}")
    now: datetime = conn.execute(select(database_now(conn))).scalar_one()
    if expires_at is not None and expires_at <= now:
        raise ValueError(f"expected a moment to come, got {expires_at:%Y-%m-%d %H:%M}Z")
    prefix = f"tk_{secrets.token_hex(6)}"
    random = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    secret = f"{prefix}_{random}"
    row = {
        "name": name,
        "role": role.value,
        "prefix": prefix,
        "hash": hash_key(secret),
        "quota": quota,
        "expires_at": expires_at,
        "created_at": now,
    }
    try:
        inserted = conn.execute(insert(api_key).values(row)).inserted_primary_key
    except IntegrityError:
        raise KeyNameTakenError(name) from None
    assert inserted is not None
    return NewKey(Key(int(inserted[0]), name, role, quota), secret)


def find_keys(conn: Connection, *, after_id: int = 0, limit: int = 1000) -> list[ListedKey]:
    """Keys in the order in which they were made, those that open no door any more included."""
    now = database_now(conn).label("now")
    query = select(api_key, now).where(api_key.c.id > after_id)
    return [
        ListedKey(
            key_id=row.id,
            name=row.name,
            role=row.role,
            reader_id=FIRST_READER_ID + row.id,
            prefix=row.prefix,
            state=tell_state(row),
            quota=row.quota,
            created_at=row.created_at,
            last_used_at=row.last_used_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
        )
        for row in conn.execute(query.order_by(api_key.c.id).limit(limit))
    ]


def find_good_keys(conn: Connection, key_ids: Collection[int]) -> set[int]:
    """Those of these keys that open a door now."""
    now = database_now(conn)
    is_over = or_(api_key.c.revoked_at.is_not(None), api_key.c.expires_at <= now)
    query = select(api_key.c.id).where(api_key.c.id.in_(key_ids), is_over.is_not(True))
    return set(conn.scalars(query))


def revoke_key(conn: Connection, name: str) -> bool:
    """Have a key open no door any more; False if it was revoked before.

    Raises:
        KeyNotFoundError: there is no such key.
    """
    changed = conn.execute(
        update(api_key)
        .where(api_key.c.name == name, api_key.c.revoked_at.is_(None))
        .values(revoked_at=database_now(conn))
    )
    if changed.rowcount:
        return True
    if conn.scalar(select(api_key.c.id).where(api_key.c.name == name)) is None:
        raise KeyNotFoundError(name)
    return False


def tell_state(row: Row[Any]) -> State:
    """Whether the key of a row opens the door.

    Args:
        row: all of it, and the database's `now`.
    """
    if row.revoked_at is not None:
        return State.REVOKED
    has_expired = row.expires_at is not None and row.expires_at <= row.now
    return State.EXPIRED if has_expired else State.GOOD


def hash_key(secret: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(secret.encode()).hexdigest()
