"""A view answers as a plain loop over its articles would, in slices of what was sorted once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommender.catalogue import NO_ROW, make_view

NOW_MS = 1_000_000

Row = tuple[int, int, int, int]
rows = st.lists(
    st.tuples(
        st.integers(1, 60),
        st.integers(1, 4),
        st.integers(0, 3),
        st.integers(NOW_MS - 3, NOW_MS + 3),
    ),
    unique_by=lambda row: row[0],
    max_size=40,
)


@given(articles=rows, channel_id=st.integers(0, 5))
def test_a_channel_is_listed_newest_first_without_what_is_yet_to_come(
    articles: list[Row], channel_id: int
) -> None:
    """By publication and then by id, whatever the order the articles were given in."""
    view = make_view(*zip(*articles, strict=True)) if articles else make_view([], [], [], [])
    expected = sorted(
        (
            (published, id_)
            for id_, channel, _, published in articles
            if published <= NOW_MS and channel_id in {0, channel}
        ),
        reverse=True,
    )

    listed = view.newest(channel_id, NOW_MS)
    assert [id_ for _, id_ in expected] == view.ids[listed].tolist()
    assert [published for published, _ in expected] == view.published[listed].tolist()
    assert listed.dtype == np.int32


@given(articles=rows, asked=st.lists(st.integers(-5, 70)))
def test_an_article_is_found_by_its_id_and_an_unknown_one_has_no_row(
    articles: list[Row], asked: list[int]
) -> None:
    """In the order asked, repeats too."""
    view = make_view(*zip(*articles, strict=True)) if articles else make_view([], [], [], [])
    by_id = {id_: (channel, author) for id_, channel, author, _ in articles}

    found = view.rows_of(asked)
    assert [id_ in by_id for id_ in asked] == [row != NO_ROW for row in found]
    for id_, row in zip(asked, found, strict=True):
        if row != NO_ROW:
            assert by_id[id_] == (view.channels[row], view.authors[row])


def test_a_view_cannot_be_changed() -> None:
    """A request may hold it while the next one is made."""
    view = make_view([7, 9], [1, 2], [0, 5], [1000, 2000])

    for column in (view.ids, view.channels, view.published, view.newest(0, NOW_MS)):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1
    assert np.shares_memory(view.newest(0, 1500), view.newest(0, NOW_MS)), "a slice is no copy"


@pytest.mark.parametrize("authors", [[0], [0, 5, 5]])
def test_columns_that_do_not_fit_are_refused(authors: list[int]) -> None:
    """Shorter, longer, or with one article twice."""
    with pytest.raises(ValueError, match="different lengths"):
        make_view([7, 9], [1, 2], authors, [1000, 2000])
    with pytest.raises(ValueError, match="twice"):
        make_view([7, 7], [1, 2], [0, 5], [1000, 2000])
