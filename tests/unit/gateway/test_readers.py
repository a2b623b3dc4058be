"""Readers' ids: whom they admit, whom they refuse, and how they travel."""

from __future__ import annotations

import pytest
from falcon import testing
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gateway.doors import READER_ID, Door
from tidings.http.reader_id import COOKIE, FIRST_ID, HOST_COOKIE, ReaderSigner

OLD, NEW = b"o" * 32, b"n" * 32
IDS = st.integers(min_value=FIRST_ID, max_value=2 * FIRST_ID - 1)


@given(IDS)
def test_a_signed_id_is_read_back(reader_id: int) -> None:
    signer = ReaderSigner([NEW])

    assert signer.read(signer.sign(reader_id)) == (reader_id, True)


@given(IDS, st.data())
def test_one_changed_character_is_refused(reader_id: int, data: st.DataObject) -> None:
    """Base64 has spare bits: the last character has four spellings, and only ours counts."""
    signer = ReaderSigner([NEW])
    signed = signer.sign(reader_id)
    place = data.draw(st.integers(0, len(signed) - 1))
    other = data.draw(
        st.sampled_from("0123456789.ABab-_").filter(lambda char: char != signed[place])
    )

    assert signer.read(signed[:place] + other + signed[place + 1 :]) is None


@given(st.text(max_size=60))
def test_no_text_is_a_reader_by_chance(text: str) -> None:
    assert ReaderSigner([NEW]).read(text) is None


def test_new_ids_are_exact_in_javascript_and_above_every_account() -> None:
    smallest = ReaderSigner([NEW], random_bits=lambda _bits: 0).new_id()
    largest = ReaderSigner([NEW], random_bits=lambda bits: 2**bits - 1).new_id()

    assert smallest == 2**52
    assert largest < 2**53
    assert [smallest, largest] == [int(float(reader_id)) for reader_id in (smallest, largest)]


def test_an_id_signed_with_the_old_key_is_known_and_is_to_be_signed_anew() -> None:
    rotated = ReaderSigner([NEW, OLD])

    assert rotated.read(ReaderSigner([OLD]).sign(READER_ID)) == (READER_ID, False)
    assert rotated.read(rotated.sign(READER_ID)) == (READER_ID, True)


def test_a_signer_needs_a_key() -> None:
    with pytest.raises(ValueError, match="key"):
        ReaderSigner([])


def test_a_new_reader_gets_an_id_in_a_cookie_and_in_a_header(door: Door) -> None:
    door.newsroom.channels(1)

    answer = door.client.simulate_get("/articles")

    cookie = answer.cookies[COOKIE]
    assert cookie.value == answer.headers["X-Reader"]
    assert (cookie.http_only, cookie.secure, cookie.same_site, cookie.path) == (
        True,
        False,
        "Lax",
        "/",
    )
    assert cookie.max_age == 365 * 24 * 3600
    read = door.signer.read(cookie.value)
    assert read is not None
    assert door.recommender.requests[0].user_id == read[0]


def test_over_https_the_cookie_is_this_hosts_alone(door: Door) -> None:
    """`__Host-` binds it: browsers refuse one without Secure, with a domain, or on a path."""
    answer = door.client.simulate_get("/", protocol="https")

    (line,) = [value for name, value in answer.headers.items() if name == "set-cookie"]
    assert line.startswith("__Host-tidings_reader=")
    assert answer.cookies[HOST_COOKIE].secure is True
    assert answer.cookies[HOST_COOKIE].path == "/"
    assert "domain" not in line.lower()


def test_over_https_the_cookie_of_plain_http_is_still_read_and_renewed(door: Door) -> None:
    signed = door.signer.sign(READER_ID)
    door.newsroom.channels(1)

    first = door.client.simulate_get("/articles", protocol="https", cookies={COOKIE: signed})
    later = door.client.simulate_get("/articles", protocol="https", cookies={HOST_COOKIE: signed})

    assert door.recommender.requests[0].user_id == READER_ID
    assert first.cookies[HOST_COOKIE].value == signed
    assert HOST_COOKIE not in later.cookies


@pytest.mark.parametrize("protocol", ["http", "https"])
def test_of_both_cookies_the_one_that_no_subdomain_can_plant_counts(
    door: Door, protocol: str
) -> None:
    door.newsroom.channels(1)
    both = {COOKIE: door.signer.sign(READER_ID + 1), HOST_COOKIE: door.signer.sign(READER_ID)}

    door.client.simulate_get("/articles", protocol=protocol, cookies=both)

    assert door.recommender.requests[0].user_id == READER_ID


def test_a_question_about_methods_makes_no_reader(door: Door) -> None:
    answer = door.client.simulate_options("/articles")

    assert "X-Reader" not in answer.headers
    assert COOKIE not in answer.cookies


@pytest.mark.parametrize("carrier", ["cookie", "header"])
def test_a_known_reader_keeps_its_id_and_is_given_none(door: Door, carrier: str) -> None:
    door.newsroom.channels(1)
    signed = door.signer.sign(READER_ID)
    sent = {"cookie": {"cookies": {COOKIE: signed}}, "header": {"headers": {"X-Reader": signed}}}[
        carrier
    ]

    answer = door.client.simulate_get("/articles", **sent)

    assert door.recommender.requests[0].user_id == READER_ID
    assert "X-Reader" not in answer.headers
    assert COOKIE not in answer.cookies


def test_a_forged_id_makes_a_new_reader(door: Door) -> None:
    door.newsroom.channels(1)
    forged = door.signer.sign(READER_ID).replace(str(READER_ID), str(READER_ID + 1))

    answer = door.client.simulate_get("/articles", cookies={COOKIE: forged})

    assert door.recommender.requests[0].user_id not in (READER_ID, READER_ID + 1)
    assert _reader_of(door, answer) == door.recommender.requests[0].user_id


def _reader_of(door: Door, answer: testing.Result) -> int:
    known = door.signer.read(answer.headers["X-Reader"])
    assert known is not None
    return known[0]


def test_each_visit_to_the_front_page_renews_the_cookie(door: Door) -> None:
    """A reader who comes once a year keeps what was learned about them; and no shared cache may
    keep an answer that carries a reader's cookie."""
    signed = door.signer.sign(door.signer.new_id())

    answer = door.client.simulate_get("/", cookies={COOKIE: signed})

    assert answer.cookies[COOKIE].value == signed
    assert answer.cookies[COOKIE].max_age == 365 * 24 * 3600
    assert answer.headers["Cache-Control"] == "private, no-cache"
