"""A reader's taste: clicks over what the places they were made at let expect."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from services.recommender.catalogue import View
from services.recommender.changing import MOST_AFFINITY
from services.recommender.exposures import Exposures
from services.recommender.parts import no_texts
from services.recommender.sources.taste import TasteSource
from services.recommender.sources.text import TextSource
from services.recommender.sources.unfamiliar import Unfamiliar
from services.recommender.sources.untried import FIRST_SHOWINGS, Untried
from services.recommender.taste import Taste, Tastes
from services.recommender.texts import make_texts
from tests.lab.feeds import MINUTE_MS, NOW_MS, a_view, question
from tidings.reading.acts import Action
from tidings.reading.reader_state import Acted, Batch, ReaderState

ARTICLES = 60
# Thirty articles in each of two channels, and an author in each who wrote every third.
SPORT, CULTURE = 1, 2
VIEW = a_view(
    ARTICLES,
    channels={id_: SPORT if id_ <= 30 else CULTURE for id_ in range(1, ARTICLES + 1)},
    authors={id_: 5 if id_ <= 30 else 6 for id_ in range(3, ARTICLES + 1, 3)},
)


def reader_of(
    batches: Sequence[Sequence[int]],
    clicks: Mapping[int, Sequence[int]],
    *,
    is_exposed: bool = True,
    act: Action = Action.CLICK,
) -> ReaderState:
    """A reader who was shown these batches a minute apart, and acted in each as told."""
    stamps = [NOW_MS - (len(batches) - number) * MINUTE_MS for number in range(len(batches))]
    return ReaderState(
        batches=[
            Batch(0, stamp, array("q", ids), bytes(len(ids)))
            for stamp, ids in zip(stamps, batches, strict=True)
        ],
        acts=[
            Acted(act, article_id, stamps[number], stamps[number] + 1000)
            for number, ids in clicks.items()
            for article_id in ids
        ],
        exposed=frozenset(stamps if is_exposed else ()),
    )


def taste_of(reader: ReaderState, view: View = VIEW) -> Taste:
    return Tastes(Exposures(), no_texts).of(question(reader), view)


def affinities(reader: ReaderState) -> list[float]:
    return [float(one) for one in taste_of(reader).of_channels(np.array([SPORT, CULTURE]))]


def test_a_reader_of_whom_nothing_is_known_has_no_taste() -> None:
    assert affinities(ReaderState()) == [0, 0]
    assert taste_of(ReaderState()).profile is None


def test_a_channel_that_is_clicked_is_liked_and_one_that_is_passed_over_is_not() -> None:
    sport, culture = affinities(reader_of([[1, 31, 2, 32, 4, 34]], {0: [1, 2, 4]}))
    assert sport > 0.5
    assert culture < 0


def test_a_click_at_the_bottom_says_more_than_one_at_the_top() -> None:
    top = [1, *range(31, 40)]
    bottom = [*range(31, 40), 1]
    assert affinities(reader_of([bottom], {0: [1]}))[0] > affinities(reader_of([top], {0: [1]}))[0]


def test_a_batch_that_was_not_seen_speaks_against_nothing() -> None:
    unseen = reader_of([[1, 2, 4]], {}, is_exposed=False)
    assert affinities(unseen) == [0, 0]


def test_a_click_proves_that_its_batch_was_seen() -> None:
    sport, culture = affinities(reader_of([[31, 32, 1]], {0: [1]}, is_exposed=False))
    assert sport > 0
    assert culture < 0


def test_a_click_that_was_made_elsewhere_is_no_choice_among_others() -> None:
    """By a link from outside, or in a batch that is no longer known: it says what the reader reads,
    and nothing of what they passed over for it."""
    elsewhere = Acted(Action.CLICK, 1, 0, NOW_MS - MINUTE_MS)
    taste = taste_of(ReaderState(acts=[elsewhere]))
    assert taste.of_channels(np.array([SPORT])).tolist() == [0]
    assert taste.clicked_ids.tolist() == [1]


def test_a_taste_that_changes_is_followed() -> None:
    """Twelve batches of one channel alone, and then of the other, both shown all the time."""
    both = [1, 31, 2, 32, 4, 34, 5, 35, 7, 37]
    clicks = {number: [1, 2] if number < 12 else [31, 32] for number in range(20)}
    before, after = affinities(reader_of([both] * 12, {n: clicks[n] for n in range(12)}))
    assert before > after
    before, after = affinities(reader_of([both] * 20, clicks))
    assert after > before


def test_an_author_is_liked_apart_from_the_channel() -> None:
    reader = reader_of([[3, 1, 6, 2, 9, 4]], {0: [3, 6, 9]})
    authors = taste_of(reader).of_authors(np.array([5, 6, 0]))
    assert authors[0] > 0.5
    assert authors[1:].tolist() == [0, 0]


def test_no_affinity_goes_beyond_its_bound() -> None:
    many = [list(range(1, 31))] * 60
    clicked = reader_of(many, {number: list(range(1, 31)) for number in range(4)})
    ignored = reader_of([[*range(1, 31)]] * 60, {})
    assert affinities(clicked)[0] <= MOST_AFFINITY
    assert affinities(ignored)[0] == pytest.approx(-MOST_AFFINITY)


def test_a_dislike_turns_the_channel_down() -> None:
    liked = reader_of([[1, 2, 31]], {0: [2]})
    disliked = reader_of([[1, 2, 31]], {0: [1]}, act=Action.DISLIKE)
    assert affinities(disliked)[0] < -0.5 < 0 < affinities(liked)[0]


def test_an_article_that_was_clicked_and_then_disliked_leads_to_no_other() -> None:
    """Neither because of it nor by its words: another click of the reader does both."""
    reader = reader_of([[1, 2, 31]], {0: [1, 2]})
    dislike = Acted(Action.DISLIKE, 1, 0, NOW_MS)
    texts = make_texts({1: "Lighthouse keepers", 2: "Sourdough", 4: "Lighthouse lamps"})
    taste = Tastes(Exposures(), lambda: texts).of(
        question(replace(reader, acts=[*reader.acts, dislike])), VIEW
    )

    assert taste.clicked_ids.tolist() == [2]
    assert taste.profile is not None
    assert set(taste.texts.origins(taste.profile, np.array([1, 2])).tolist()) <= {0, 2}


def test_an_article_that_has_gone_is_no_evidence() -> None:
    reader = reader_of([[901, 902, 1]], {0: [901, 902]})
    assert affinities(reader)[0] <= 0
    assert not len(taste_of(reader).clicked_ids)


def test_the_taste_source_proposes_what_is_liked_and_says_why() -> None:
    reader = reader_of([[1, 31, 3, 32]], {0: [1, 3]})
    tastes = Tastes(Exposures(), no_texts)
    proposed = TasteSource(tastes)(question(reader), VIEW)
    ids = VIEW.ids[proposed.rows]
    assert set(ids.tolist()) == set(range(1, 31)) - {1, 3}
    by_id = dict(zip(ids.tolist(), proposed.because.tolist(), strict=True))
    assert by_id[6] == 3
    assert by_id[7] == 3
    assert by_id[6 + 3] == 3


def test_the_taste_source_keeps_to_the_channel_that_was_asked_for() -> None:
    reader = reader_of([[1, 31, 3, 32]], {0: [1, 3]})
    proposed = TasteSource(Tastes(Exposures(), no_texts))(
        question(reader, channel_id=CULTURE), VIEW
    )
    assert not len(proposed.rows)


def test_the_text_source_proposes_what_is_about_the_same_and_visible() -> None:
    texts = make_texts(
        {
            1: "The ferry to the islands",
            2: "Islands and their ferry",
            31: "A ferry for sale",
            32: "School budget",
            99: "The ferry has gone from the catalogue",
        }
    )
    tastes = Tastes(Exposures(), lambda: texts)
    source = TextSource(tastes)
    reader = reader_of([[1, 40]], {0: [1]})
    proposed = source(question(reader), VIEW)
    assert VIEW.ids[proposed.rows].tolist()[:2] == [2, 31]
    assert proposed.because.tolist()[:2] == [1, 1]
    of_channel = source(question(reader, channel_id=CULTURE), VIEW)
    assert 31 in VIEW.ids[of_channel.rows]
    assert 2 not in VIEW.ids[of_channel.rows]
    before = question(reader, now_ms=NOW_MS - 50 * MINUTE_MS)
    assert 31 not in VIEW.ids[source(before, VIEW).rows]


def test_every_new_article_gets_its_first_showings_and_then_no_more() -> None:
    """Sixty articles at once, readers who come one after another: each is shown in its turn."""
    exposures = Exposures()
    untried = Untried(exposures)
    for number in range(ARTICLES * FIRST_SHOWINGS):
        proposed = untried(question(ReaderState()), VIEW)
        best = proposed.rows[np.argmax(proposed.strengths)]
        exposures.fold_batch([int(VIEW.ids[best])], NOW_MS + number)
    assert set(exposures.showings(VIEW.ids.tolist()).tolist()) == {FIRST_SHOWINGS}
    assert not len(untried(question(ReaderState()), VIEW).rows)


def test_what_the_reader_saw_is_not_tried_on_them_again() -> None:
    seen = list(range(1, ARTICLES))
    proposed = Untried(Exposures())(question(reader_of([seen], {})), VIEW)
    assert VIEW.ids[proposed.rows].tolist() == [ARTICLES]


def test_channels_of_which_nothing_is_known_take_turns_and_those_passed_over_do_not() -> None:
    view = a_view(60, channels={id_: 1 + id_ % 30 for id_ in range(1, 61)})
    source = Unfamiliar(Tastes(Exposures(), no_texts))
    reader = reader_of([[1, 2, 31]], {0: [1]})
    proposed = source(question(reader), view)
    channels = view.channels[proposed.rows].tolist()
    assert len(set(channels)) == len(channels) == 12
    assert not {2} & set(channels)
    later = reader_of([[1, 2, 31], [1, 2, 31]], {0: [1]})
    assert set(view.channels[source(question(later), view).rows].tolist()) != set(channels)


def test_a_reader_who_clicked_nothing_yet_is_shown_what_is_popular_and_no_odd_channel() -> None:
    source = Unfamiliar(Tastes(Exposures(), no_texts))
    assert not len(source(question(ReaderState()), VIEW).rows)
    reader = reader_of([[1]], {0: [1]})
    assert not len(source(question(reader, channel_id=SPORT), VIEW).rows)
