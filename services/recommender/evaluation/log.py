"""The clicks of a log as columns, in the order of time, with what a replay asks of each: which one
of its session it is, and what its reader clicked before.

A file of events knows no catalogue, so the log brings one: every article is published a millisecond
after its first click, or the newest list would hold the very click that is to be guessed. Rejected:
an object a click; three million of them cost a gigabyte.

    log = make_log(blocks)
    log.view.ids[log.rows[0]]  # the first article that was clicked
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.recommender.catalogue.view import NO_AUTHOR, View, make_view
from tidings.importing.event_rows import NO_SESSION, EventBlock
from tidings.reading.acts import Action

SESSION_IDLE_MS = 30 * 60 * 1000


class EmptyLogError(ValueError):
    """The file holds no event that could be replayed."""


@dataclass(frozen=True, slots=True)
class Log:
    """Clicks by time; equal moments in the order of the file. All columns have one length, n.

    Attributes:
        view: a catalogue of the articles that were clicked.
        at_ms: int64, ascending.
        readers: int64 ids.
        rows: int32 rows of `view`.
        sessions: int32, numbered from 0; those of the file, or ended by half an hour without click.
        prefix: int32, how many clicks of the same session came before.
        devices: uint8 codes.
        referrers: uint8 codes.
        by_reader: int64 places in the log, by reader and then time.
        place_by_reader: int64, where each click stands in `by_reader`.
        first_of_reader: int64, where its reader's first click stands in `by_reader`.
    """

    view: View
    at_ms: NDArray[np.int64]
    readers: NDArray[np.int64]
    rows: NDArray[np.int32]
    sessions: NDArray[np.int32]
    prefix: NDArray[np.int32]
    devices: NDArray[np.uint8]
    referrers: NDArray[np.uint8]
    by_reader: NDArray[np.int64]
    place_by_reader: NDArray[np.int64]
    first_of_reader: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.at_ms)

    def before(self, moment_ms: int) -> int:
        """How many clicks are earlier than this moment."""
        return int(np.searchsorted(self.at_ms, moment_ms))

    def earlier_of_reader(self, click: int) -> NDArray[np.int64]:
        """What the reader of this click clicked before its moment: places in the log, oldest
        first."""
        start, end = self.first_of_reader[click], self.place_by_reader[click]
        earlier = self.by_reader[start:end]
        return earlier[: np.searchsorted(self.at_ms[earlier], self.at_ms[click])]


def make_log(
    blocks: Iterable[EventBlock],
    *,
    channel_of: Callable[[NDArray[np.int64]], NDArray[np.int64]] = np.ones_like,
) -> Log:
    """The log of a file's clicks; what readers did besides is left out.

    Args:
        blocks: of the file.
        channel_of: the channel of each article, by its id; by default all are in one.

    Raises:
        EmptyLogError: there is no click.
    """
    kept = [(block, block.actions == Action.CLICK) for block in blocks]
    names = ("at_ms", "readers", "articles", "sessions", "devices", "referrers")
    columns = {
        name: np.concatenate([getattr(block, name)[is_click] for block, is_click in kept] or [[]])
        for name in names
    }
    if not len(columns["at_ms"]):
        raise EmptyLogError("there is no click in it")
    by_time = np.argsort(columns["at_ms"], kind="stable")
    at_ms, readers, articles, named, devices, referrers = (columns[name][by_time] for name in names)
    by_reader = np.argsort(readers, kind="stable")
    sessions = _number_sessions(at_ms, readers, named)
    place_by_reader, first_of_reader = _places(readers, by_reader)
    by_session = np.argsort(sessions, kind="stable")
    place, first = _places(sessions, by_session)
    ids, first_clicks = np.unique(articles, return_index=True)
    view = make_view(ids, channel_of(ids), np.full(len(ids), NO_AUTHOR), at_ms[first_clicks] + 1)
    return Log(
        view=view,
        at_ms=at_ms,
        readers=readers,
        rows=view.rows_of(articles),
        sessions=sessions,
        prefix=(place - first).astype(np.int32),
        devices=devices,
        referrers=referrers,
        by_reader=by_reader,
        place_by_reader=place_by_reader,
        first_of_reader=first_of_reader,
    )


def _number_sessions(
    at_ms: NDArray[np.int64], readers: NDArray[np.int64], named: NDArray[np.int64]
) -> NDArray[np.int32]:
    """The number of each click's session; those that the file names may lie within each other."""
    order = np.lexsort((at_ms, named, readers))
    who, when, which = readers[order], at_ms[order], named[order]
    begins = np.ones(len(who), bool)
    is_idle = (which[1:] == NO_SESSION) & (np.diff(when) > SESSION_IDLE_MS)
    begins[1:] = (who[1:] != who[:-1]) | (which[1:] != which[:-1]) | is_idle
    sessions = np.empty(len(who), np.int32)
    sessions[order] = np.cumsum(begins) - 1
    return sessions


def _places(
    groups: NDArray[np.int64] | NDArray[np.int32], order: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each one stands in `order`, and where the first of its group does."""
    grouped = groups[order]
    begins = np.ones(len(order), bool)
    begins[1:] = grouped[1:] != grouped[:-1]
    first_in_order = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
    place, first = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    place[order], first[order] = np.arange(len(order)), first_in_order
    return place, first
