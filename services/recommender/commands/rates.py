"""`tidings rates`: how readers take what they are shown, by what brought it to them.

tidings rates --by variant --days 14
"""

from __future__ import annotations

from datetime import timedelta

import click

from services.recommender.sources.table import source_names
from tidings.commands.printing import json_option, print_rows
from tidings.news.channels import FOR_YOU, read_channels
from tidings.process.clock import moment, now_ms
from tidings.process.settings import load_settings
from tidings.reading.acts import Action
from tidings.reading.rates import Rate, Split, day_of, read_rates
from tidings.store.opening import open_database

SHOWN = [action for action in Action if action is not Action.EXPOSURE]


@click.command()
@click.option(
    "--by",
    "split",
    type=click.Choice([one.value for one in Split]),
    default=Split.SOURCE.value,
    show_default=True,
)
@click.option("--days", default=7, show_default=True, type=click.IntRange(1, 3650))
@json_option
def rates(split: str, days: int, *, as_json: bool) -> None:
    """Clicks, readings, likings … for each article that was seen, over the last days.

    A share above 1 is possible: an article that was seen once may be opened twice. Acts on what no
    batch showed have no share.
    """
    now = moment(now_ms())
    by = Split(split)
    with open_database(load_settings()).connect() as conn:
        found = read_rates(conn, by, now - timedelta(days=days - 1), now)
        channels = {one.channel_id: one.name for one in (FOR_YOU, *read_channels(conn))}
    sources = source_names()

    def name(rate: Rate) -> str:
        match by:
            case Split.DAY:
                return day_of(rate)
            case Split.SOURCE:
                return sources.get(rate.value, "unknown")
            case Split.CHANNEL:
                return channels.get(rate.value, str(rate.value))
            case Split.VARIANT:
                return str(rate.value)

    rows = [
        {by.value: name(rate), "shown": rate.shown}
        | {act.json_name: _share(rate, act, as_json=as_json) for act in SHOWN}
        for rate in found
    ]
    print_rows(rows, as_json=as_json)


def _share(rate: Rate, action: Action, *, as_json: bool) -> float | str | None:
    share = rate.share(action)
    if as_json:
        return share
    return "" if share is None else f"{share:.4f}"
