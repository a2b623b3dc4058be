"""A reader meets one ranker at each request, and the shares are as large as they were set."""

from __future__ import annotations

from collections import Counter

import pytest

from services.recommender.models.variants import Shares
from tidings.process.errors import SettingsError
from tidings.process.settings import read_settings

READERS = range(-10_000, 10_000)


def test_shares_are_as_large_as_set_and_the_rest_is_variant_0() -> None:
    shares = Shares(("1:blend:10", "2:in-use:25.5"))
    counted = Counter(shares.of(reader).number for reader in READERS)
    assert counted[1] / len(READERS) == pytest.approx(0.10, abs=0.01)
    assert counted[2] / len(READERS) == pytest.approx(0.255, abs=0.015)
    assert counted.keys() == {0, 1, 2}


def test_without_variants_every_reader_is_served_by_the_ranker_in_use() -> None:
    assert {Shares(()).of(reader)[:2] for reader in READERS} == {(0, "in-use")}


def test_a_reader_stays_where_they_are_when_the_last_share_grows() -> None:
    small, large = Shares(("1:blend:10",)), Shares(("1:blend:30",))
    inside = [reader for reader in READERS if small.of(reader).number == 1]
    assert inside
    assert {large.of(reader).number for reader in inside} == {1}


def test_a_new_comparison_divides_the_readers_anew() -> None:
    first, second = Shares(("1:blend:50",)), Shares(("2:blend:50",))
    both = sum(first.of(r).number == 1 and second.of(r).number == 2 for r in READERS)
    assert both / len(READERS) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("reader", [0, -(2**63), 2**63 - 1])
def test_any_id_has_a_bucket(reader: int) -> None:
    assert Shares(("1:blend:100",)).of(reader).number == 1


@pytest.mark.parametrize(
    ("variants", "why"),
    [
        ("blend", "NUMBER:RANKER:PERCENT"),
        ("1:blend", "NUMBER:RANKER:PERCENT"),
        ("x:blend:10", "NUMBER:RANKER:PERCENT"),
        ("0:blend:10", "from 1 to 255"),
        ("256:blend:10", "from 1 to 255"),
        ("1::10", "has a name"),
        ("1:blend:0", "above 0"),
        ("1:blend:nan", "above 0"),
        ("1:blend:101", "at most 100"),
        ("1:blend:60,2:in-use:60", "more than 100"),
        ("1:blend:10,1:in-use:10", "same number"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(variants: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        read_settings(None, recommender_variants=variants)
