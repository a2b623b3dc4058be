"""The name that stands under a title, out of what feeds write for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.importing.bylines import clean_author, first_author


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Una Mooring", "Una Mooring"),
        ("una@harbour.example (Una Mooring)", "Una Mooring"),
        ("Una Mooring (una@harbour.example)", "Una Mooring"),
        ("Una Mooring <una@harbour.example>", "Una Mooring"),
        ("mailto:una@harbour.example (Una Mooring)", "Una Mooring"),
        ("(Una Mooring)", "Una Mooring"),
        ("Una Mooring (https://harbour.example/una)", "Una Mooring"),
        ("Una Mooring ()", "Una Mooring"),
        ("una@harbour.example", None),
        ("<una@harbour.example>", None),
        ("https://harbour.example/una", None),
        ("Mooring &amp; Sons", "Mooring & Sons"),
        ("Zo&euml; Keel", "Zoë Keel"),
        ("<a href='/una'>Una\n Mooring</a>", "Una Mooring"),
        ("Una Mooring (Harbour News)", "Una Mooring (Harbour News)"),
        ("Mooring, Una", "Mooring, Una"),
        ("Una Mooring, Otto Pier, Ina Quay", "Una Mooring"),
        ("Mooring, U.; Pier, O.", "Mooring, U."),
        ("Una Mooring, " + "Otto Pier and " * 20, "Una Mooring"),
        ("M" * 300, "M" * 128),
        ("海の新聞", "海の新聞"),
        ("-", None),
        ("", None),
    ],
)
def test_a_name_is_what_is_left_of_an_author(written: str, name: str | None) -> None:
    """No address, no markup, and the first of a list."""
    assert clean_author(written) == name


def test_the_first_author_with_a_name_signs() -> None:
    """Where the first is an address only, the next."""
    authors = [{"email": "una@harbour.example"}, {"name": "Otto Pier"}, {"name": "Ina Quay"}]
    assert first_author({"authors": authors, "author": "Ina Quay"}) == "Otto Pier"
    assert first_author({"author": "una@harbour.example (Una Mooring)"}) == "Una Mooring"
    assert first_author({}) is None


@pytest.mark.parametrize("written", ["<" + " " * 2_000_000, "a" * 2_000_000, "<" + "a" * 2_000_000])
def test_an_author_of_two_megabytes_costs_no_more_than_its_size(written: str) -> None:
    """Looking for its end from each of its letters would take longer than any test."""
    for _ in range(200):
        clean_author(written)


@given(st.text(st.sampled_from("aB <>()[]@.,;:&/#é\n") | st.characters(), max_size=200))
def test_any_author_is_a_short_name_or_none(written: str) -> None:
    """Never empty, and never an address."""
    name = clean_author(written)
    assert name is None or (0 < len(name) <= 128 and "@example" not in name)
