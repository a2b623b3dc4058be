"""`tidings payments`: what payment providers have told, and what of it a person has to look at.

A callback that differs from what was asked for changes nothing and is not forgotten: it stays on
this list until a person says that it is seen to. Rejected: letting a command settle it; money that
does not fit needs the provider's own books beside ours.

    tidings payments callbacks
"""

from __future__ import annotations

import click

from tidings.commands.printing import ID, json_option, print_rows
from tidings.process.errors import CannotStartError
from tidings.process.settings import load_settings
from tidings.shop import callbacks as shop_callbacks
from tidings.shop.callbacks import CallbackNotFoundError, Recorded
from tidings.store.engine import transaction
from tidings.store.opening import open_database

MOST_LISTED = 1000


@click.group()
def payments() -> None:
    """What payment providers have told of payments."""


@payments.command("callbacks")
@click.option("--all", "with_closed", is_flag=True, help="All that are kept, the newest first.")
@json_option
def list_callbacks(*, with_closed: bool, as_json: bool) -> None:
    """Print the callbacks that wait for a person, the oldest first."""
    with open_database(load_settings()).connect() as conn:
        found = (
            shop_callbacks.find_newest(conn, limit=MOST_LISTED)
            if with_closed
            else shop_callbacks.find_open(conn, limit=MOST_LISTED)
        )
    print_rows([_row(callback) for callback in found], as_json=as_json)


@payments.command("close")
@click.argument("callback_ids", metavar="CALLBACK...", nargs=-1, type=ID, required=True)
def close(callback_ids: tuple[int, ...]) -> None:
    """Take callbacks off that list, once a person has seen to them. They are kept all the same."""
    try:
        with transaction(open_database(load_settings())) as conn:
            for callback_id in callback_ids:
                shop_callbacks.close(conn, callback_id)
    except CallbackNotFoundError as ex:
        raise CannotStartError(str(ex)) from None
    click.echo(f"{len(callback_ids)} closed")


def _row(callback: Recorded) -> dict[str, object]:
    return {
        "callback": callback.id,
        "verdict": callback.verdict,
        "payment": callback.payment_id,
        "type": callback.type,
        "flaw": callback.flaw or "",
        "provider": callback.provider,
        "event": callback.event_id,
        "at": callback.at,
    }
