"""`tidings audit`: who changed what on the site, newest first.

tidings audit --noun article --id 42
"""

from __future__ import annotations

import click

from tidings.commands.printing import ID, json_option, print_json, print_rows
from tidings.editing.audit import Entry, find_entries
from tidings.process.settings import load_settings
from tidings.store.opening import open_database

# Of what was changed: a body fills no terminal.
SHOWN_CHARS = 60


@click.command()
@click.option("--noun", help="Only of one kind: article, channel, source, image or demo.")
@click.option("--id", "noun_id", type=ID, help="Only of the one of this number.")
@click.option("--actor", help="Only by one: key:NAME, shell:USER or job:NAME.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def audit(
    noun: str | None, noun_id: int | None, actor: str | None, limit: int, *, as_json: bool
) -> None:
    """Print what was changed, by whom, as it was and as it is since."""
    nouns = None if noun is None else {noun}
    with open_database(load_settings()).connect() as conn:
        found = find_entries(conn, limit=limit, nouns=nouns, noun_id=noun_id, actor=actor)
    if as_json:
        print_json(entry._asdict() for entry in found)
    else:
        print_rows([_row(entry) for entry in found], as_json=False)


def _row(entry: Entry) -> dict[str, object]:
    changes = []
    for name in entry.after or entry.before or {}:
        old, new = (entry.before or {}).get(name), (entry.after or {}).get(name)
        if old != new:  # what is new has fields that are empty still
            changes.append(f"{name}: {_short(old)} -> {_short(new)}")
    return {
        "at": entry.at,
        "actor": entry.actor,
        "verb": entry.verb,
        "noun": f"{entry.noun} {'' if entry.noun_id is None else entry.noun_id}".rstrip(),
        "changes": "; ".join(changes),
    }


def _short(value: object) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"
