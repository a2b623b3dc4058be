"""A write says what it was made from: the tags it may bring, in every form in which they come back,
and what is answered to a write without one."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from tests.unit.gateway.doors import Door
from tests.unit.gateway.test_bad_input import problem
from tidings.http.preconditions import answer_record, read_if_match
from tidings.readers.keys import Role

DIGEST = "0123abcd"


class Record:
    """What anonymous readers read too, and editors write."""

    needs_role = {"put": Role.EDITOR}

    def __init__(self) -> None:
        self.seen: Any = ()

    def on_get(self, _req: Any, resp: Any) -> None:
        answer_record(resp, {"text": "a" * 2000}, DIGEST)

    def on_put(self, req: Any, resp: Any) -> None:
        self.seen = read_if_match(req)
        self.on_get(req, resp)


@pytest.fixture
def record(door: Door) -> Record:
    """A record at `/record` of the door."""
    record = Record()
    door.client.app.add_route("/record", record)
    return record


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (f'"{DIGEST}"', {DIGEST}),
        (f'"older", "{DIGEST}"', {"older", DIGEST}),
        (f'"{DIGEST}.gz"', {DIGEST}),
        (f'W/"{DIGEST}"', {DIGEST}),
        ("*", None),
    ],
)
def test_a_write_brings_the_version_it_was_made_from(
    door: Door, record: Record, sent: str, seen: Any
) -> None:
    answer = door.client.simulate_put(
        "/record", headers={**door.make_key(Role.EDITOR), "If-Match": sent}
    )

    assert answer.status_code == 200
    assert record.seen == seen


@pytest.mark.parametrize("sent", [{}, {"If-Match": ""}])
def test_a_write_without_a_version_is_refused(
    door: Door, record: Record, sent: dict[str, str]
) -> None:
    answer = door.client.simulate_put("/record", headers={**door.make_key(Role.EDITOR), **sent})

    problem(answer, 428, "precondition-needed")
    assert record.seen == ()


def test_the_tag_of_a_packed_record_leads_back_to_the_record(door: Door, record: Record) -> None:
    key = door.make_key(Role.EDITOR)
    plain = door.client.simulate_get("/record", headers=key)
    packed = door.client.simulate_get("/record", headers={**key, "Accept-Encoding": "gzip"})

    assert gzip.decompress(packed.content) == plain.content
    assert (plain.headers["ETag"], packed.headers["ETag"]) == (f'"{DIGEST}"', f'"{DIGEST}.gz"')
    door.client.simulate_put("/record", headers={**key, "If-Match": packed.headers["ETag"]})
    assert record.seen == {DIGEST}


def test_a_role_that_a_write_needs_closes_no_door_to_those_who_read(
    door: Door, record: Record
) -> None:
    assert door.client.simulate_get("/record").status_code == 200
    assert "private" not in door.client.simulate_get("/record").headers["Cache-Control"]
    refused = door.client.simulate_put("/record", headers={"If-Match": "*"})
    problem(refused, 401, "key-needed")
    assert "X-Reader" not in refused.headers
    assert record.seen == ()
