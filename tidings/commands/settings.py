"""`tidings settings`: every setting as this site has it.

tidings settings
"""

from __future__ import annotations

import re

import click

from tidings.commands.printing import print_table
from tidings.process.settings import describe, load_settings


@click.command()
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
