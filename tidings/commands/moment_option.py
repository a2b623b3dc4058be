"""A moment as an option of a command: what `tidings import` takes for one, in ms since the epoch.

Years beyond 1800 to 2199 are refused here, since a day more or another time zone leads out of the
calendar. Rejected: a parser of each command's own, all of which overlooked that.

    @click.option("--since", type=Moment())
"""

from __future__ import annotations

from typing import Any

import click

from tidings.importing.moments import parse_moment
from tidings.process.clock import milliseconds


class Moment(click.ParamType[int]):
    """A moment in ISO 8601; without a zone it is UTC."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return milliseconds(parse_moment(value))
        except ValueError as ex:
            self.fail(f"{value[:60]!r} is no moment like 2017-10-10T03:00Z: {ex}", param, ctx)
