"""A view with changes merged into it is the view that would be made of all articles anew."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommender.catalogue import View, make_view, merging
from services.recommender.catalogue.columns import Columns

Article = tuple[int, int, int, int]

article = st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(-2, 2), st.integers(0, 1))
before = st.dictionaries(st.integers(1, 40), article, max_size=30)
# An article that is taken down is none.
changes = st.dictionaries(st.integers(1, 60), article | st.none(), max_size=20)


def view_of(articles: dict[int, Article]) -> View:
    rows = articles.values()
    channels, authors, published, updated = ([row[at] for row in rows] for at in range(4))
    return make_view([*articles], channels, authors, published, updated=updated)


def columns_of(changed: dict[int, Article | None]) -> Columns:
    channels, authors, published, updated = (
        np.array([one[at] if one else 0 for one in changed.values()], dtype=np.int64)
        for at in range(4)
    )
    return Columns(
        ids=np.array([*changed], dtype=np.int64),
        channels=channels,
        authors=authors,
        published=published,
        updated=updated,
        is_published=np.array([one is not None for one in changed.values()], dtype=np.bool_),
    )


@pytest.mark.parametrize("few", [0, 1000])
@given(articles=before, changed=changes)
def test_merging_is_making_anew(
    few: int, articles: dict[int, Article], changed: dict[int, Article | None]
) -> None:
    """However many change: put in, taken out, moved to another channel or moment, in any mixture;
    in pieces, and by looking every row up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "FEW", few)
        merged = merging.merge(view_of(articles), columns_of(changed))
    now = {id_: one for id_, one in (articles | changed).items() if one is not None}
    expected = view_of(now)

    for name in ("ids", "channels", "authors", "published", "updated", "by_time"):
        assert getattr(merged, name).tolist() == getattr(expected, name).tolist(), name
        assert getattr(merged, name).dtype == getattr(expected, name).dtype
    for channel_id in range(1, 4):
        assert merged.newest(channel_id, 10).tolist() == expected.newest(channel_id, 10).tolist()
        assert merged.newest(channel_id, 10).dtype == np.int32
    assert merged.rows_of(range(70)).tolist() == expected.rows_of(range(70)).tolist()


@given(articles=before, changed=changes)
def test_only_what_differs_is_merged(
    articles: dict[int, Article], changed: dict[int, Article | None]
) -> None:
    """Of what a look reads again, nearly all is known; and of two states of an article, the later
    counts."""
    found = merging.changes_of(view_of(articles), columns_of({**articles, **changed}))
    differs = {id_ for id_, one in changed.items() if one != articles.get(id_)}

    assert {*found.ids.tolist()} == differs
