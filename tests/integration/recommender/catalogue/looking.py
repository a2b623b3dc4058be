"""What the tests of the catalogue see of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from unittest import mock

from services.recommender.catalogue import Catalogue, following
from services.recommender.catalogue.columns import Columns, read_columns
from services.recommender.catalogue.following import OVERLAP
from tests.lab.newsroom import Clock
from tidings.news.changes import RawRow

OVERLAP_MS = int(OVERLAP / timedelta(milliseconds=1))


def listed(catalogue: Catalogue, clock: Clock, channel_id: int = 0, limit: int = 1000) -> list[int]:
    """The ids of everything in a channel, newest first."""
    view = catalogue.view()
    ids: list[int] = view.ids[view.newest(channel_id, clock())[:limit]].tolist()
    return ids


@contextmanager
def counting_rows() -> Iterator[list[int]]:
    """How many rows of articles each statement read inside the block."""
    read: list[int] = []
    real = read_columns

    def count(rows: Sequence[RawRow]) -> tuple[Columns, list[RawRow]]:
        read.append(len(rows))
        return real(rows)

    with mock.patch.object(following, "read_columns", count):
        yield read
