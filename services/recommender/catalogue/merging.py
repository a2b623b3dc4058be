"""A view with changes in it: the next view, made without sorting the articles that stay.

However many articles changed, each column is copied once, and the rows that stay keep their order:
they are renumbered, and the new ones are put in at places found by halving. Rejected: inserting one
after the other, which took minutes for a million; and sorting all of them, a fifth of a second for
each article that an editor touches.

    view = merge(view, columns)
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from services.recommender.catalogue.columns import Columns
from services.recommender.catalogue.view import NO_ROW, NO_ROWS, View, split_by_channel

# Up to so many changes, copying in pieces is quicker than looking each row up: for one change among
# a million articles, 25 ms of a busy core against 98.
FEW = 32

Rows = NDArray[np.int32]


def changes_of(view: View, columns: Columns) -> Columns:
    """Those of the articles that are not as the view has them; of several states of one article,
    the last."""
    _, last = np.unique(columns.ids[::-1], return_index=True)
    is_last = np.zeros(len(columns), dtype=np.bool_)
    is_last[len(columns) - 1 - last] = True
    rows = view.rows_of(columns.ids)
    known = rows != NO_ROW
    if not len(view):
        return columns.take(is_last & columns.is_published)
    same = (
        known
        & columns.is_published
        & (view.channels[rows] == columns.channels)
        & (view.authors[rows] == columns.authors)
        & (view.published[rows] == columns.published)
        & (view.updated[rows] == columns.updated)
    )
    return columns.take(is_last & ~same & (known | columns.is_published))


def removal_of(ids: NDArray[np.int64]) -> Columns:
    """These articles as gone."""
    nothing = np.zeros(len(ids), dtype=np.int64)
    return Columns(
        ids=ids.astype(np.int64),
        channels=nothing,
        authors=nothing,
        published=nothing,
        updated=nothing,
        is_published=nothing == 1,
    )


def merge(view: View, changed: Columns) -> View:
    """The view with these articles as they are now: in their new places, or gone.

    Args:
        changed: no article twice, in any order.
    """
    rows = view.rows_of(changed.ids)
    gone = np.sort(rows[rows != NO_ROW])
    by_id = np.argsort(changed.ids, kind="stable")
    new = changed.take(by_id[changed.is_published[by_id]])
    # Among those that stay.
    places = np.searchsorted(view.ids, new.ids) - np.searchsorted(view.ids[gone], new.ids)
    is_few = len(changed) <= FEW
    merging = _Splice(gone, places) if is_few else _Rebuild(len(view), gone, places)
    channels = merging.column(view.channels, new.channels)
    published = merging.column(view.published, new.published)
    # Newest first, and of equal moments the highest row.
    new_rows = (places + np.arange(len(new))).astype(np.int32)
    in_order = new_rows[np.lexsort((-new_rows, -new.published))]
    added = split_by_channel(channels, in_order)
    by_channel = {
        channel_id: _put_in(
            merging.renumbered(view.by_channel.get(channel_id, NO_ROWS)),
            added.get(channel_id, NO_ROWS),
            published,
        )
        for channel_id in view.by_channel.keys() | added.keys()
    }
    return View(
        ids=merging.column(view.ids, new.ids),
        channels=channels,
        authors=merging.column(view.authors, new.authors),
        published=published,
        updated=merging.column(view.updated, new.updated),
        by_time=_put_in(merging.renumbered(view.by_time), in_order, published),
        by_channel=by_channel,
    )


class _Splice:
    """A few rows out and a few in: what lies between is copied as it is.

    Args:
        gone: rows of before, ascending.
        places: of the new ones among those that stay, ascending.
    """

    def __init__(self, gone: Rows, places: NDArray[np.intp]) -> None:
        self._gone: list[int] = gone.tolist()
        self._before = [self._row_at(place) for place in places.tolist()]
        # From this row of before on, rows move by so many.
        self._shifts: Counter[int] = Counter(self._before)
        self._shifts.subtract(self._row_at(row - n) for n, row in enumerate(self._gone))

    def column(self, old: NDArray[np.int64], added: NDArray[np.int64]) -> NDArray[np.int64]:
        """A column with the new values in it."""
        parts, copied = [], 0
        for row, number in sorted(
            [*((row, NO_ROW) for row in self._gone), *zip(self._before, count(), strict=False)],
            key=itemgetter(0),
        ):
            parts.append(old[copied:row])
            if number != NO_ROW:
                parts.append(added[number : number + 1])
            copied = row + 1 if number == NO_ROW else row
        return np.concatenate([*parts, old[copied:]])

    def renumbered(self, rows: Rows) -> Rows:
        """A list of rows as they are numbered now, without those that are gone."""
        found = [at for row in self._gone for at in np.flatnonzero(rows == row)]
        numbers = rows = np.delete(rows, found) if found else rows
        for first, shift in self._shifts.items():
            if shift:
                moves = np.multiply(rows >= first, np.int32(shift), dtype=np.int32)
                numbers = numbers + moves
        return numbers

    def _row_at(self, place: int) -> int:
        """The row of before that has this place among those that stay."""
        for row in self._gone:
            place += row <= place
        return place


class _Rebuild:
    """Many rows out and in: every row of before is looked up.

    Args:
        length: of the columns of before.
        gone: rows of before, ascending.
        places: of the new ones among those that stay, ascending.
    """

    def __init__(self, length: int, gone: Rows, places: NDArray[np.intp]) -> None:
        self._stays = np.ones(length, dtype=np.bool_)
        self._stays[gone] = False
        self._places = places
        is_new = np.zeros(length - len(gone) + len(places), dtype=np.bool_)
        is_new[places + np.arange(len(places))] = True
        self._numbers = np.full(length, NO_ROW, dtype=np.int32)
        self._numbers[self._stays] = np.flatnonzero(~is_new)

    def column(self, old: NDArray[np.int64], added: NDArray[np.int64]) -> NDArray[np.int64]:
        """A column with the new values in it."""
        return np.insert(old[self._stays], self._places, added)

    def renumbered(self, rows: Rows) -> Rows:
        """A list of rows as they are numbered now, without those that are gone."""
        numbers: Rows = self._numbers[rows]
        stay: Rows = numbers[numbers != NO_ROW]
        return stay


def _put_in(rows: Rows, added: Rows, published: NDArray[np.int64]) -> Rows:
    """Both lists are newest first, and so is the result."""
    if not len(added):
        return rows
    # The first place whose row comes after each added one, by halving, for all of them at once.
    low = np.zeros(len(added), dtype=np.int64)
    high = np.full(len(added), len(rows), dtype=np.int64)
    moments = published[added]
    while np.any(low < high):
        middle = (low + high) // 2
        at = rows[np.minimum(middle, len(rows) - 1)]
        is_newer = (published[at] > moments) | ((published[at] == moments) & (at > added))
        searching = low < high
        low = np.where(searching & is_newer, middle + 1, low)
        high = np.where(searching & ~is_newer, middle, high)
    return np.insert(rows, low, added)
