"""Tracking tokens: what was issued is read back, what was not is refused, and each says the same
thing once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import string
from dataclasses import replace
from itertools import combinations
from typing import cast

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.lab.newsroom import DAY_MS, NOW_MS
from tidings.reading.acts import Action
from tidings.reading.tracking import Shown, TokenExpiredError, TokenRefusedError, Tracker

KEY = b"k" * 32
OTHER_KEY = b"o" * 32
ALPHABET = string.ascii_letters + string.digits + "-_"
THIRTY_DAYS_MS = 30 * DAY_MS

int64s = st.integers(-(2**63), 2**63 - 1)
shown_things = st.builds(
    Shown,
    action=st.sampled_from(Action),
    reader_id=int64s,
    channel_id=st.integers(-(2**31), 2**31 - 1),
    stamp_ms=int64s,
    article_id=int64s,
    position=st.integers(0, 255),
    source=st.integers(0, 255),
    variant=st.integers(0, 255),
    context=st.integers(0, 255),
)
moments_ms = st.integers(0, 2**32 * 1000 - 1)
SHOWN = Shown(Action.CLICK, 42, 10, NOW_MS, 7, 3, 2)


@pytest.fixture
def tracker() -> Tracker:
    return Tracker([KEY])


@given(shown_things, moments_ms)
def test_what_was_issued_is_read_back(shown: Shown, now_ms: int) -> None:
    """Every field of every place and action survives the journey through a reader's browser."""
    tracker = Tracker([KEY])

    assert shown == tracker.read(tracker.issue(shown, now_ms), now_ms)


@given(shown_things, moments_ms)
def test_a_token_is_short_and_needs_no_escaping_in_a_url(shown: Shown, now_ms: int) -> None:
    """The contract promises at most 120 bytes of URL-safe characters for every token."""
    token = Tracker([KEY]).issue(shown, now_ms)

    assert len(token.encode()) <= 120
    assert set(token) <= set(ALPHABET)


@given(shown_things, st.data())
def test_a_token_with_one_character_changed_is_refused(shown: Shown, data: st.DataObject) -> None:
    """A byte changed anywhere is noticed, spare bits and neighbouring alphabets of base64
    included."""
    tracker = Tracker([KEY])
    token = tracker.issue(shown, NOW_MS)
    at = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.sampled_from(ALPHABET + "+/=\n é\ud800\0"))
    assume(character != token[at])

    with pytest.raises(TokenRefusedError):
        tracker.read(token[:at] + character + token[at + 1 :], NOW_MS)


@given(shown_things, st.data())
def test_a_token_with_one_character_added_is_refused(shown: Shown, data: st.DataObject) -> None:
    """There is one spelling of a token: padding and white space, which base64 readers love to skip,
    make another."""
    tracker = Tracker([KEY])
    token = tracker.issue(shown, NOW_MS)
    at = data.draw(st.integers(0, len(token)))
    character = data.draw(st.sampled_from(ALPHABET + "+/=\n \0"))

    with pytest.raises(TokenRefusedError):
        tracker.read(token[:at] + character + token[at:], NOW_MS)


@given(shown_things, st.data())
def test_a_token_with_one_character_removed_is_refused(shown: Shown, data: st.DataObject) -> None:
    """What was cut off on the way is not a token, wherever it was cut."""
    tracker = Tracker([KEY])
    token = tracker.issue(shown, NOW_MS)
    at = data.draw(st.integers(0, len(token) - 1))

    with pytest.raises(TokenRefusedError):
        tracker.read(token[:at] + token[at + 1 :], NOW_MS)


@given(st.text(max_size=200))
def test_no_text_of_any_kind_is_taken_for_a_token_or_raises_anything_else(text: str) -> None:
    """What arrives in a token's place is anybody's text: it is refused, never an exception of the
    decoder's."""
    with pytest.raises(TokenRefusedError):
        Tracker([KEY]).read(text, NOW_MS)


# A click of reader 42 and its moment of issue, signed with `KEY` by the release before.
OF_THE_RELEASE_BEFORE = "AQAAAAAAAAAqAAAACgAAAaIIRv4AAAAAAAAAAAcDAmsEKsBYtSvEzSr8nS42cPUalpjc"


def test_a_token_of_the_release_before_is_read_and_names_the_same_event(tracker: Tracker) -> None:
    """Readers hold tokens for thirty days, so for thirty days after an upgrade they send shorter
    ones."""
    shown = tracker.read(OF_THE_RELEASE_BEFORE, NOW_MS)

    assert shown == SHOWN
    assert shown.event_id == tracker.read(tracker.issue(SHOWN, NOW_MS), NOW_MS).event_id


def test_a_token_of_the_release_before_with_a_byte_changed_is_refused(tracker: Tracker) -> None:
    """A shorter token is signed as well as a longer one."""
    for at in range(len(OF_THE_RELEASE_BEFORE)):
        other = "A" if OF_THE_RELEASE_BEFORE[at] != "A" else "B"
        changed = OF_THE_RELEASE_BEFORE[:at] + other + OF_THE_RELEASE_BEFORE[at + 1 :]
        with pytest.raises(TokenRefusedError):
            tracker.read(changed, NOW_MS)


def test_a_token_survives_a_change_of_keys_as_long_as_its_key_is_kept(tracker: Tracker) -> None:
    """Keys are rotated by putting the new one first: old tokens go on, and new ones are signed by
    the new key."""
    token = tracker.issue(SHOWN, NOW_MS)
    rotated = Tracker([OTHER_KEY, KEY])

    assert rotated.read(token, NOW_MS) == SHOWN
    assert Tracker([OTHER_KEY]).read(rotated.issue(SHOWN, NOW_MS), NOW_MS) == SHOWN


def test_a_token_is_refused_once_its_key_is_gone(tracker: Tracker) -> None:
    """Dropping a key that leaked takes back what was signed with it."""
    with pytest.raises(TokenRefusedError):
        Tracker([OTHER_KEY]).read(tracker.issue(SHOWN, NOW_MS), NOW_MS)


def test_a_tracker_without_keys_is_refused() -> None:
    """Signing with nothing would accept what anybody signs with nothing."""
    with pytest.raises(ValueError, match="at least one key"):
        Tracker([])


@given(moments_ms.filter(lambda ms: ms + THIRTY_DAYS_MS < 2**32 * 1000))
def test_a_token_is_good_for_thirty_days_to_the_second(issued_ms: int) -> None:
    """Valid at the very end of the thirtieth day, expired a second later; and expired is not the
    same as refused."""
    tracker = Tracker([KEY])
    token = tracker.issue(SHOWN, issued_ms)

    assert tracker.read(token, issued_ms + THIRTY_DAYS_MS) == SHOWN
    with pytest.raises(TokenExpiredError):
        tracker.read(token, issued_ms + THIRTY_DAYS_MS + 1000)


def test_a_token_that_is_old_and_changed_is_refused_rather_than_expired(tracker: Tracker) -> None:
    """ "Expired" is said of our own tokens only; it must not confirm to a forger that the rest was
    right."""
    token = tracker.issue(SHOWN, NOW_MS)
    changed = token[:-1] + ("A" if token[-1] != "A" else "B")

    with pytest.raises(TokenRefusedError):
        tracker.read(changed, NOW_MS + THIRTY_DAYS_MS + 1000)


@given(shown_things, moments_ms, moments_ms, st.integers(0, 255))
def test_a_token_issued_again_is_about_the_same_event(
    shown: Shown, first_ms: int, second_ms: int, source: int
) -> None:
    """A page of history carries fresh tokens that no longer know the source: the same click on it
    is the same event."""
    first, second = Tracker([KEY]), Tracker([OTHER_KEY, KEY])
    again = second.issue(replace(shown, source=source, variant=0, context=0), second_ms)

    assert shown.event_id == first.read(first.issue(shown, first_ms), first_ms).event_id
    assert shown.event_id == second.read(again, second_ms).event_id


@given(shown_things, shown_things)
def test_different_places_and_actions_are_different_events(one: Shown, other: Shown) -> None:
    """Two events that share an id would be counted as one."""
    first, second = (replace(shown, source=0, variant=0, context=0) for shown in (one, other))
    assume(first != second)

    assert one.event_id != other.event_id


def test_every_single_field_makes_another_event() -> None:
    """Neighbouring places differ in one field only: each field is part of the event's identity, but
    for the source, the variant and the context, which say how the place came about."""
    neighbours = [
        SHOWN,
        replace(SHOWN, action=Action.LIKING),
        replace(SHOWN, reader_id=43),
        replace(SHOWN, channel_id=11),
        replace(SHOWN, stamp_ms=NOW_MS + 1),
        replace(SHOWN, article_id=8),
        replace(SHOWN, position=4),
    ]

    assert not [
        pair for pair in combinations(neighbours, 2) if pair[0].event_id == pair[1].event_id
    ]


@pytest.mark.parametrize(
    "signing_key", [KEY, hashlib.sha256(KEY).digest(), hmac.digest(KEY, b"reader", "sha256")]
)
def test_a_signature_made_for_another_purpose_is_not_a_tokens(
    tracker: Tracker, signing_key: bytes
) -> None:
    """The site's key also signs readers' ids; nothing signed with it, or with another key derived
    from it, passes."""
    token = tracker.issue(SHOWN, NOW_MS)
    body = base64.urlsafe_b64decode(token)[:-16]
    forged = (
        base64.urlsafe_b64encode(body + hmac.digest(signing_key, body, "sha256")[:16])
        .rstrip(b"=")
        .decode()
    )

    with pytest.raises(TokenRefusedError):
        tracker.read(forged, NOW_MS)


def test_an_act_that_only_a_newer_release_knows_is_refused_and_fails_no_report(
    tracker: Tracker,
) -> None:
    """During an upgrade, and after one that was taken back, readers hold tokens of acts that this
    program does not know; each would fail the whole report that it is in."""
    (token,) = tracker.issue_each(SHOWN, [cast(Action, 99)], NOW_MS)

    with pytest.raises(TokenRefusedError, match="act 99 is of another release"):
        tracker.read(token.decode(), NOW_MS)
