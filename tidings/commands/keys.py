"""`tidings keys`: keys by which programs and staff come through the gateway.

An operator at the site's shell can write its database, so the first key needs no other. The key
itself is all that stands on stdout: a script takes it from there, and a person reads the rest on
stderr. Rejected: a page for it, which would have to be guarded by the very keys that it makes.

    KEY=$(tidings keys add importer --role author)
"""

from __future__ import annotations

from collections.abc import Iterator

import click
from sqlalchemy import Connection

from tidings.commands.moment_option import Moment
from tidings.commands.printing import json_option, print_json, print_rows
from tidings.process.clock import moment
from tidings.process.errors import CannotStartError
from tidings.process.settings import load_settings
from tidings.readers import keys as reader_keys
from tidings.readers.keys import KeyNameTakenError, KeyNotFoundError, ListedKey, Role
from tidings.store.engine import transaction
from tidings.store.opening import open_database


@click.group()
def keys() -> None:
    """Keys by which programs and staff come through the gateway."""


@keys.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    required=True,
    help="What it may do; each role may do all that those before it may.",
)
@click.option("--expires", "expires_ms", type=Moment(), help="When it ends; without it, never.")
@click.option(
    "--limit",
    "quota",
    type=click.IntRange(1, reader_keys.MOST_QUOTA),
    help="Requests in TIDINGS_GATEWAY_LIMIT_WINDOW_S; without it, what the settings say.",
)
@json_option
def add(name: str, role: str, expires_ms: int | None, *, quota: int | None, as_json: bool) -> None:
    """Make a key and print it. It is shown this once: only its hash is kept."""
    expires_at = None if expires_ms is None else moment(expires_ms)
    try:
        with transaction(open_database(load_settings())) as conn:
            made = reader_keys.add_key(conn, name, Role(role), expires_at=expires_at, quota=quota)
    except (ValueError, KeyNameTakenError) as ex:
        raise click.BadParameter(str(ex)) from None
    if as_json:
        row = {"key_id": made.key.key_id, "name": name, "role": role, "secret": made.secret}
        print_json([row | {"reader_id": made.key.reader_id}])
        return
    click.echo(f"the key {name}, which is shown this once:", err=True)
    click.echo(made.secret)


@keys.command("list")
@json_option
def list_keys(*, as_json: bool) -> None:
    """Print every key that was made, with its beginning, when it was used last and until when it
    opens the door."""
    settings = load_settings()
    with open_database(settings).connect() as conn:
        rows = list(_all(conn))
    if as_json:
        print_json(rows)
        return
    print_rows([_row(row, settings.gateway.limit_window_s) for row in rows], as_json=False)


@keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Have a key open the door no more. Every gateway knows it within a second."""
    try:
        with transaction(open_database(load_settings())) as conn:
            is_new = reader_keys.revoke_key(conn, name)
    except KeyNotFoundError as ex:
        raise CannotStartError(str(ex)) from None
    click.echo(f"the key {name} is revoked" if is_new else f"the key {name} was revoked before")


def _all(conn: Connection) -> Iterator[ListedKey]:
    after_id = 0
    while page := reader_keys.find_keys(conn, after_id=after_id):
        yield from page
        after_id = page[-1].key_id


def _row(key: ListedKey, window_s: int) -> dict[str, object]:
    return {
        "name": key.name,
        "role": key.role,
        "key": f"{key.prefix}_…",
        "state": key.state,
        f"in {window_s} s": key.quota,
        "made": key.created_at,
        "last used": key.last_used_at,
        "expires": key.expires_at,
        "revoked": key.revoked_at,
    }
