"""The `tidings` command. Each process adds its own sub-commands through the entry-point group
`tidings.commands`, so that this module imports none of them.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import entry_points

import click

from tidings.commands.printing import print_table
from tidings.process.clock import now_ms
from tidings.process.errors import CannotStartError
from tidings.process.settings import describe, load_settings


class OneLineErrors(click.Group):
    """Bad configuration is one line on stderr and exit code 2, never a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except CannotStartError as ex:
            click.echo(f"tidings: {ex}", err=True)
            sys.exit(2)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *entry_points(group="tidings.commands").names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            return found
        for entry in entry_points(group="tidings.commands", name=cmd_name):
            command: click.Command = entry.load()
            return command
        return None


@click.group(cls=OneLineErrors)
@click.version_option(package_name="tidings")
def main() -> None:
    """Run and look after a Tidings site."""


@main.command()
def migrate() -> None:
    """Bring the database to the newest schema. Safe to run twice, and from two places at once."""
    from tidings.store.opening import migrate_database

    click.echo(f"the database is at revision {migrate_database(load_settings())}")


@main.command()
@click.option(
    "--demo/--no-demo", default=True, help="Fill an empty site with example articles and readers."
)
def up(*, demo: bool) -> None:
    """Run the whole site on this machine until Ctrl-C."""
    from tidings.commands.up import run_site

    run_site(load_settings(), _load_demo_once if demo else None)


@main.command()
def demo() -> None:
    """Add the example articles and their simulated readers."""
    from tidings.demo.load import load_demo
    from tidings.store.opening import open_database

    click.echo(load_demo(open_database(load_settings()), now_ms))


@main.command()
def settings() -> None:
    """Print every setting: its value, where that comes from, and what it means."""
    rows = [
        (
            setting.variable,
            _show(setting.name, setting.value),
            "environment" if setting.is_given else "default",
            setting.meaning,
        )
        for setting in describe(load_settings())
    ]
    print_table(("setting", "value", "source", "meaning"), rows)


def _show(name: str, value: object) -> str:
    if name.startswith(("secret", "payment_secret")) and value:
        return "(hidden)"
    if isinstance(value, tuple):
        return ",".join(value)
    # A password in a URL stands between a colon and the at sign.
    return re.sub(r"(://[^/@]*?:)[^/@]*@", r"\1***@", str(value))


def _load_demo_once() -> str:
    from tidings.demo.load import is_empty, load_demo
    from tidings.store.opening import open_database

    engine = open_database(load_settings())
    return (
        load_demo(engine, now_ms)
        if is_empty(engine)
        else "demo: this site has articles, none were added"
    )
