"""Brings events together, out of a file or the site's own tables, and makes the log of them that a
training replays.

    view = gather(settings, wanted, events, progress)
    log = make_training_log(events, view)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.recommender.catalogue import NO_ROW, Catalogue, View
from services.recommender.evaluation.log import Log, make_log
from services.recommender.training.events import COLUMNS, Events
from services.recommender.training.measured import Progress
from services.recommender.training.site import read_site
from services.recommender.training.wanted import Wanted
from tidings.importing import InputError
from tidings.importing.addresses import FetchRules
from tidings.importing.event_rows import EventBlock, EventsHeaderError, read_events
from tidings.importing.inputs import UNREADABLE, open_input
from tidings.process.clock import now_ms
from tidings.process.errors import CannotStartError
from tidings.process.settings import Settings
from tidings.store.opening import open_database

MOST_CLICKS = 3_000_000


def gather(
    settings: Settings, wanted: Wanted, events: Events, progress: Progress, scratch: Path
) -> View | None:
    """Take in all events that are wanted; returns the site's catalogue, None where the events are
    of a file.

    Raises:
        CannotStartError: the file cannot be read.
    """
    view = None
    if wanted.file is None:
        engine = open_database(settings)
        since = datetime.now(UTC) - timedelta(days=wanted.days)
        blocks: Iterator[EventBlock] = read_site(engine, since)
        catalogue = Catalogue(engine, now_ms)
        catalogue.refresh()
        view = catalogue.view()
    else:
        blocks = _read_file(wanted.file, scratch, FetchRules.of(settings))
    read = refused = 0
    until_ms = now_ms() if wanted.until_ms is None else wanted.until_ms
    for block in blocks:
        refused += len(block.rejects)
        read += len(block.at_ms)
        events.add(_only(block, block.at_ms < until_ms))
        progress.say_now_and_then(f"{read} events read")
    summary = events.summary()
    progress.say(
        f"{read} events read, {refused} refused: {summary.clicks} clicks of {summary.readers} "
        f"readers on {summary.articles} articles"
    )
    return view


def make_training_log(events: Events, view: View | None) -> Log:
    """The newest clicks as a log, over this catalogue; over one made of the clicks where it is
    None.

    Raises:
        EmptyLogError: there is no click.
    """
    clicks = events.clicks(MOST_CLICKS)
    if view is None:
        return make_log([clicks])
    log = make_log([_only(clicks, view.rows_of(clicks.articles) != NO_ROW)])
    return replace(log, view=view, rows=view.rows_of(log.view.ids[log.rows]))


def _read_file(file: str, scratch: Path, rules: FetchRules) -> Iterator[EventBlock]:
    try:
        with open_input(file, scratch, rules) as source:
            yield from read_events(source.stream, until_ms=now_ms())
    except InputError as ex:
        raise CannotStartError(str(ex)) from None
    except (EventsHeaderError, *UNREADABLE) as ex:
        raise CannotStartError(f"{file}: {ex}") from None


def _only(block: EventBlock, kept: NDArray[np.bool_]) -> EventBlock:
    columns = {field.name: getattr(block, field.name) for field in fields(block)}
    return EventBlock(**columns | {name: columns[name][kept] for name in ("lines", *COLUMNS)})
