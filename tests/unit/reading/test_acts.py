"""The one table of acts, and what is held against it: an act that is added in one place only fails
here, with the names of the files that are behind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import msgspec
import pytest

from gateway.feed.cards import Track
from tidings.client import Article
from tidings.news.counted import Counts
from tidings.news.tables import article_count
from tidings.reading.acts import TRACKED, Act, Action
from tidings.reading.tallies import WEIGHTS
from tidings_idl.recommend.ttypes import Track as IdlTrack


@dataclasses.dataclass(frozen=True)
class Row:
    """An act as the table has it."""

    number: int
    label: str
    json_name: str


TABLE = [Row(action.value, action.label, action.json_name) for action in Action]
PLANTED = Row(number=99, label="planted", json_name="planted")


def behind(table: Sequence[Row]) -> dict[str, set[str]]:
    """File → what it says of acts and the table does not, and the other way round."""
    on_cards = [row for row in table if row.number != Action.EXPOSURE]
    in_idl = {f"{field[0]}: {field[2]}" for field in filter(None, vars(IdlTrack)["thrift_spec"])}
    in_client = {one.name for one in dataclasses.fields(Article)} - {"article_id", "reason"}
    counted = {field.encode_name for field in msgspec.structs.fields(Counts)}
    columns = set(article_count.columns.keys()) - {"article_id"}
    differences = {
        "idl/recommend.thrift": in_idl ^ {f"{row.number}: {row.label}" for row in on_cards},
        "gateway/feed/cards.py": set(Track.__struct_fields__) ^ {row.json_name for row in on_cards},
        "tidings/client/values.py": in_client ^ {row.label for row in on_cards},
        "tidings/news/counted.py": counted ^ {row.json_name for row in table},
        "a migration of article_count": columns ^ {row.label for row in table},
    }
    return {file: names for file, names in differences.items() if names}


def test_every_place_that_names_acts_names_those_of_the_table() -> None:
    assert behind(TABLE) == {}


def test_an_act_that_is_in_the_table_only_is_told_by_the_files_that_lack_it() -> None:
    assert set(behind([*TABLE, PLANTED])) == {
        "idl/recommend.thrift",
        "gateway/feed/cards.py",
        "tidings/client/values.py",
        "tidings/news/counted.py",
        "a migration of article_count",
    }


def test_an_act_that_the_table_lost_is_told_as_well() -> None:
    without_click = [row for row in TABLE if row.label != "click"]

    assert behind(without_click)["gateway/feed/cards.py"] == {"click"}


def test_numbers_and_names_are_those_that_tokens_and_rows_were_written_with() -> None:
    """Trap: a renumbered act would make every token of the last 30 days another act's."""
    assert [(row.number, row.label, row.json_name) for row in TABLE] == [
        (0, "exposure", "exposure"),
        (1, "click", "click"),
        (2, "collect", "collect"),
        (4, "reading", "read"),
        (5, "liking", "liking"),
        (6, "dislike", "dislike"),
    ]


def test_tokens_of_a_card_are_in_the_order_of_their_fields() -> None:
    """The recommender writes them out in this order."""
    assert list(TRACKED) == sorted(set(Action) - {Action.EXPOSURE})


def test_what_an_act_is_worth_stands_in_its_row() -> None:
    assert WEIGHTS == {
        Action.CLICK: 1.0,
        Action.COLLECT: 3.0,
        Action.READING: 1.0,
        Action.LIKING: 3.0,
    }


def test_an_act_is_found_by_its_number() -> None:
    by_number: Callable[[int], Action] = Action  # type: ignore[assignment] # mypy reads __new__
    assert by_number(4) is Action.READING
    with pytest.raises(ValueError, match="3 is not a valid Action"):
        by_number(3)


def test_a_row_names_all_its_values() -> None:
    """A row that leaves one out is an error where it stands, before anything starts."""
    with pytest.raises(TypeError, match="weight"):
        Act(number=7, json_name="planted")  # type: ignore[call-arg]
