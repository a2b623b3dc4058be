"""Rows of the database as columns of numbers, and those that cannot be read apart from them.

A page of rows is read as a whole; what is no number in a cell becomes `UNREADABLE`, and its row is
given back by itself. So one row that another program spoilt holds up no other. Rejected: a `try`
around each row, ten times the time of a start.

    columns, unreadable = read_columns(rows)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.recommender.catalogue.moments import UNREADABLE, read_moments
from tidings.news.changes import RawRow


@dataclass(frozen=True, slots=True)
class Columns:
    """Articles as the database has them, those included that may not be shown.

    Attributes:
        ids: (n,) int64.
        channels: (n,) int64.
        authors: (n,) int64, 0 for none.
        published: (n,) int64, ms since the epoch.
        updated: (n,) int64, ms since the epoch, or `UNREADABLE`.
        is_published: (n,) bool.
    """

    ids: NDArray[np.int64]
    channels: NDArray[np.int64]
    authors: NDArray[np.int64]
    published: NDArray[np.int64]
    updated: NDArray[np.int64]
    is_published: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Columns:
        """Some of the rows."""
        return Columns(
            ids=self.ids[which],
            channels=self.channels[which],
            authors=self.authors[which],
            published=self.published[which],
            updated=self.updated[which],
            is_published=self.is_published[which],
        )


def join(parts: Sequence[Columns]) -> Columns:
    """One after the other."""
    return Columns(
        *(
            np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Columns)
        )
    )


def read_columns(rows: Sequence[RawRow]) -> tuple[Columns, list[RawRow]]:
    """The rows as columns, in their order, and those of them that cannot be read."""
    ids, channels, authors, published, is_published, updated = (
        zip(*rows, strict=True) if rows else ((),) * 6
    )
    columns = Columns(
        ids=_integers(ids),
        channels=_integers(channels),
        authors=_integers(authors),
        published=_moments(published),
        updated=_moments(updated),
        is_published=_integers(is_published) == 1,
    )
    readable = (columns.channels > 0) & (columns.published != UNREADABLE)
    if readable.all():
        return columns, []
    return columns.take(readable), [rows[place] for place in np.flatnonzero(~readable).tolist()]


def _moments(cells: Sequence[Any]) -> NDArray[np.int64]:
    is_text = any(isinstance(cell, bytes) for cell in cells)
    return read_moments(cells) if is_text else _integers(cells)


def _integers(cells: Sequence[Any]) -> NDArray[np.int64]:
    try:
        return np.array(cells, dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        return np.array([cell if isinstance(cell, int) else UNREADABLE for cell in cells])
