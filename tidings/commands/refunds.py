"""`tidings refunds`: money that is owed to readers, and sending it back.

The jobs daemon sends refunds by itself and tries for hours; what it could not send is dead, and
waits here for a person. Rejected: asking the daemon to try again; a person who has mended
something wants to see at once whether it works now, and there may be no daemon.

    tidings refunds retry
"""

from __future__ import annotations

import sys

import click

from tidings.commands.printing import ID, json_option, print_json, print_rows
from tidings.process.errors import CannotStartError, SettingsError
from tidings.process.settings import load_settings
from tidings.shop import refunds as shop_refunds
from tidings.shop.providers import ProviderUnavailableError, make_provider, make_site
from tidings.shop.refunds import UNSENT, Refund, RefundNotFoundError, State
from tidings.store.opening import open_database

EXIT_STILL_OWED = 1


@click.group()
def refunds() -> None:
    """Money that came too late for its order, and has to go back."""


@refunds.command("list")
@click.option("--all", "with_sent", is_flag=True, help="Also those that were sent.")
@json_option
def list_refunds(*, with_sent: bool, as_json: bool) -> None:
    """Print what is owed, the oldest first; what is dead waits for a person."""
    states = tuple(State) if with_sent else UNSENT
    with open_database(load_settings()).connect() as conn:
        found = shop_refunds.find_refunds(conn, states=states)
    if as_json:
        print_json(found)
        return
    if found:
        print_rows([_row(refund) for refund in found], as_json=False)
    elif with_sent:
        click.echo("nothing was ever owed")
    else:
        click.echo("nothing is owed; --all shows what was sent")


@refunds.command("retry")
@click.argument("payment_ids", metavar="[PAYMENT]...", nargs=-1, type=ID)
def retry(payment_ids: tuple[int, ...]) -> None:
    """Ask each payment's provider to give back what is owed now: all of it, or that of these
    payments.

    Exit code 1: some of it is still owed. Sending the same refund again gives nothing more.
    """
    settings = load_settings()
    engine, site = open_database(settings), make_site(settings)
    try:
        with engine.connect() as conn:
            owed = (
                [shop_refunds.find_unsent(conn, id_) for id_ in payment_ids]
                if payment_ids
                else shop_refunds.find_refunds(conn, states=UNSENT)
            )
    except RefundNotFoundError as ex:
        raise CannotStartError(str(ex)) from None
    failed = 0
    for refund in owed:
        try:
            shop_refunds.send(engine, make_provider(refund.provider, site), refund)
        except (ProviderUnavailableError, SettingsError) as ex:
            failed += 1
            click.echo(f"payment {refund.payment_id}: still owed: {ex}", err=True)
        else:
            click.echo(f"payment {refund.payment_id}: {_amount(refund)} sent back")
    if not owed:
        click.echo("nothing is owed")
    sys.exit(EXIT_STILL_OWED if failed else 0)


def _row(refund: Refund) -> dict[str, object]:
    return {
        "payment": refund.payment_id,
        "order": refund.order_id,
        "amount": _amount(refund),
        "provider": refund.provider,
        "state": refund.state,
        "since": refund.created_at,
        "reason": refund.reason,
        "error": refund.error or "",
    }


def _amount(refund: Refund) -> str:
    return f"{refund.amount_cents / 100:.2f} {refund.currency}"
