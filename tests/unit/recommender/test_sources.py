"""The list of sources of candidates, and what each says of itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from services.recommender import parts
from services.recommender.candidates import Source
from services.recommender.exposures import Exposures
from services.recommender.parts import no_texts
from services.recommender.signals.folding import Signals
from services.recommender.sources.again import AGAIN
from services.recommender.sources.backlog import BACKLOG
from services.recommender.sources.hot import HOT
from services.recommender.sources.latest import LATEST
from services.recommender.sources.neighbours import NEIGHBOURS
from services.recommender.sources.table import check_sources, make_sources
from services.recommender.taste import Tastes
from services.recommender.walks import Walks
from tests.lab.feeds import Room, a_view, question
from tidings.reading.tracking import LadderSource


def test_the_sources_in_use_have_the_numbers_that_tokens_were_issued_with() -> None:
    """A number that changed would tell of the wrong source in every token that is out."""
    signals = Signals(sessions=16)
    exposures = Exposures()
    tastes = Tastes(exposures, no_texts)
    made = make_sources(
        signals, Walks(signals), tastes=tastes, exposures=exposures, learned=lambda: None
    )
    used = [recall.source for recall in made]
    expected = {
        1: "latest",
        2: "hot",
        3: "again",
        4: "neighbours",
        5: "taste",
        6: "text",
        7: "untried",
        8: "backlog",
        12: "unfamiliar",
        9: "collaborative",
    }
    known = check_sources(used)

    assert expected.items() <= {number: one.name for number, one in known.items()}.items()
    assert {LATEST, HOT, NEIGHBOURS} <= {*used}


def test_a_source_that_is_not_in_the_list_is_an_error_and_not_a_guess() -> None:
    """The number in a token says which source it was, or nothing does."""
    with pytest.raises(KeyError):
        Room(a_view(1)).chooser.source(99)


@pytest.mark.parametrize("number", [0, 256])
def test_a_number_that_no_token_can_carry_ends_the_start(number: int) -> None:
    with pytest.raises(ValueError, match="mine"):
        Source(number=number, name="mine")


@pytest.mark.parametrize(
    "other",
    [
        Source(number=HOT.number, name="mine"),
        Source(number=200, name=HOT.name),
        Source(number=LadderSource.POPULAR, name="mine"),
        Source(number=AGAIN.number, name="mine"),
        Source(number=200, name=BACKLOG.name),
    ],
    ids=["number", "name", "number of the ladder's", "number of again's", "name of the backlog"],
)
def test_two_sources_that_could_be_taken_for_one_end_the_start(other: Source) -> None:
    with pytest.raises(ValueError, match="is another source's"):
        check_sources([LATEST, HOT, other])


def test_the_source_of_the_documentation_proposes_what_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Run as it stands there: with a line in the table its picks are in the next batch, under its
    number and name, though nobody has clicked them."""
    page = Path(__file__).parents[3] / "docs" / "recommender.md"
    (code,) = re.findall(r"```python\n(.*?class Picks.*?)```", page.read_text(), re.DOTALL)
    made: dict[str, Any] = {}
    exec(code, made)  # the example is ours
    picks = made["Picks"]([7, 99])
    monkeypatch.setattr(
        parts, "make_sources", lambda *known, **named: [picks, *make_sources(*known, **named)]
    )
    room = Room(a_view(60))
    room.click(1, *range(20, 40))
    chosen = room.choose(question(wanted=60))
    place = chosen.ids.tolist().index(7)

    assert (chosen.sources[place], chosen.reasons[place].kind) == (100, "picks")
    assert room.chooser.source(100).name == "picks"
