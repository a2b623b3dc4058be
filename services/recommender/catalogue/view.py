"""What may be shown, in columns: one value that stays as it is while a request works with it.

The pipeline weighs some hundred articles a request, by arithmetic on whole arrays. So an article is
a row, its number is its place in the sorted ids, and a channel is a list of rows, newest first. A
change makes another view. Rejected: an object an article, which costs ten times the memory and a
loop a request; and columns changed in place, which a request could see half changed.

    view = make_view(ids=[7, 9], channels=[1, 2], authors=[0, 5], published=[1000, 2000])
    view.newest(0, now_ms=1500)  # the row of article 7
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tidings.news.channels import is_every_channel

NO_ROW = -1
# Ids that are numbers of rows have few gaps: a table of rows by id is then small, and one look into
# it takes 10 us for 400 articles of a million where halving takes 110.
DENSE = 4
NO_AUTHOR = 0


class View:
    """The articles that are published, or will be once their moment has come. Never changed.

    An article may be seen at `now_ms` if it has a row and `published[row] <= now_ms`.

    Attributes:
        ids: (n,) int64, ascending; an article's row is its place here.
        channels: (n,) int64 by row.
        authors: (n,) int64 by row, `NO_AUTHOR` for none.
        published: (n,) int64 by row, ms since the epoch.
        updated: (n,) int64 by row; another number than before means that the article changed, its
            text perhaps.
        by_time: (n,) int32 rows, newest first; equal moments by id, the highest first.
        by_channel: channel id → its rows in the same order.
    """

    __slots__ = (
        "_row_of",
        "authors",
        "by_channel",
        "by_time",
        "channels",
        "ids",
        "published",
        "updated",
    )

    def __init__(
        self,
        *,
        ids: NDArray[np.int64],
        channels: NDArray[np.int64],
        authors: NDArray[np.int64],
        published: NDArray[np.int64],
        updated: NDArray[np.int64],
        by_time: NDArray[np.int32],
        by_channel: Mapping[int, NDArray[np.int32]],
    ) -> None:
        self.ids = ids
        self.channels = channels
        self.authors = authors
        self.published = published
        self.updated = updated
        self.by_time = by_time
        self.by_channel = by_channel
        self._row_of = _table_of(ids)
        for column in (ids, channels, authors, published, updated):
            column.setflags(write=False)
        for rows in (by_time, *by_channel.values()):
            rows.setflags(write=False)

    def __len__(self) -> int:
        return len(self.ids)

    def rows_of(self, ids: ArrayLike) -> NDArray[np.int32]:
        """The row of each of these articles, (n,) int32; `NO_ROW` where there is none."""
        wanted = np.asarray(ids, dtype=np.int64)
        if self._row_of is not None:
            # The first place and the last are no article's, and stand for all that are outside.
            return self._row_of.take(wanted, mode="clip")
        places = np.minimum(np.searchsorted(self.ids, wanted), len(self.ids) - 1)
        return np.where(self.ids[places] == wanted, places, NO_ROW).astype(np.int32)

    def newest(self, channel_id: int, now_ms: int) -> NDArray[np.int32]:
        """The rows of a channel that may be seen, newest first: a slice, however long."""
        every = is_every_channel(channel_id)
        rows = self.by_time if every else self.by_channel.get(channel_id, NO_ROWS)
        if not len(rows) or self.published[rows[0]] <= now_ms:
            return rows
        # What is yet to come stands first, and is little.
        first = bisect_left(rows, True, key=lambda row: bool(self.published[row] <= now_ms))
        return rows[first:]


def _table_of(ids: NDArray[np.int64]) -> NDArray[np.int32] | None:
    """Row by id, (highest id + 2,) int32; None if that would be much larger than the ids are."""
    if len(ids) and not (ids[0] > 0 and ids[-1] < DENSE * len(ids)):
        return None
    table = np.full(ids[-1] + 2 if len(ids) else 1, NO_ROW, dtype=np.int32)
    table[ids] = np.arange(len(ids), dtype=np.int32)
    return table


NO_ROWS: NDArray[np.int32] = np.empty(0, dtype=np.int32)


def make_view(
    ids: ArrayLike,
    channels: ArrayLike,
    authors: ArrayLike,
    published: ArrayLike,
    updated: ArrayLike | None = None,
) -> View:
    """A view of these articles, in any order, from columns of one length. Sorts, so for a start.

    Args:
        authors: `NO_AUTHOR` for none.
        published: ms since the epoch.
        updated: ms since the epoch; None for articles that never change.

    Raises:
        ValueError: an article stands there twice, or a column is shorter than another.
    """
    given = np.asarray(ids, dtype=np.int64)
    by_id = np.argsort(given, kind="stable")
    sorted_ids = given[by_id]
    if np.any(sorted_ids[1:] == sorted_ids[:-1]):
        raise ValueError("an article stands there twice")
    places = _column(channels, by_id)
    moments = _column(published, by_id)
    # Reversed, so that of equal moments the highest row comes first.
    by_time = np.argsort(moments, kind="stable")[::-1].astype(np.int32)
    return View(
        ids=sorted_ids,
        channels=places,
        authors=_column(authors, by_id),
        published=moments,
        updated=_column(np.zeros(len(given)) if updated is None else updated, by_id),
        by_time=by_time,
        by_channel=split_by_channel(places, by_time),
    )


def _column(values: ArrayLike, by_id: NDArray[np.int64]) -> NDArray[np.int64]:
    column = np.asarray(values, dtype=np.int64)
    if len(column) != len(by_id):
        raise ValueError("the columns have different lengths")
    return column[by_id]


def split_by_channel(
    channels: NDArray[np.int64], rows: NDArray[np.int32]
) -> dict[int, NDArray[np.int32]]:
    """Channel id → those of `rows` that stand in it, in the order given."""
    of = channels[rows]
    order = np.argsort(of, kind="stable")
    found, starts = np.unique(of[order], return_index=True)
    parts: Sequence[NDArray[np.int32]] = np.split(rows[order], starts[1:])
    # Of no rows, `split` makes one part.
    return {int(channel_id): part for channel_id, part in zip(found, parts, strict=False)}
