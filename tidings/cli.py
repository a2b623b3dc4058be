"""The `tidings` command. Each process adds its own sub-commands through the entry-point group `tidings.commands`,
so that this module imports none of them.
"""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

import click
from rich.console import Console
from rich.table import Table

from tidings.settings import PREFIX, Settings, SettingsError, load_settings
from tidings.store.migrate import SchemaError


class OneLineErrors(click.Group):
    """Bad configuration is one line on stderr and exit code 2, never a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (SettingsError, SchemaError) as ex:
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
    from tidings.store.engine import make_engine
    from tidings.store.migrate import migrate as upgrade

    click.echo(f"the database is at revision {upgrade(make_engine(load_settings()))}")


@main.command()
def settings() -> None:
    """Print every setting: its value, where that comes from, and what it means."""
    current = load_settings()
    table = Table("setting", "value", "source", "meaning")
    for name, field in Settings.model_fields.items():
        value = getattr(current, name)
        shown = ",".join(value) if isinstance(value, tuple) else str(value)
        if name == "secret_keys" and value:
            shown = "(hidden)"
        source = "environment" if name in current.model_fields_set else "default"
        table.add_row(PREFIX + name.upper(), shown, source, field.description or "")
    Console().print(table)
