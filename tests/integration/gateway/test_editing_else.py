"""Channels, sources, pictures and the audit log over HTTP, on both databases."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from falcon import testing
from PIL import Image
from redis import Redis
from sqlalchemy import Engine, func, select

from gateway.resources.bodies import PICTURE_BYTES
from tests.integration.gateway.desk import Member
from tests.lab.newsroom import HOUR_MS
from tests.unit.gateway.doors import IMAGES_MAX_BYTES, Door, make_door
from tests.unit.gateway.test_bad_input import problem
from tidings.news.tables import image
from tidings.process.clock import now_ms
from tidings.readers.keys import Role

ADDRESS = "https://example.org/feed.xml"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The folder of the pictures that are kept."""
    return tmp_path / "images"


@pytest.fixture
def door(engine: Engine, redis_client: Redis, pictures: Path) -> Door:
    """A gateway with channels 1 and 2 that keeps pictures, an hour after what the database's clock
    says, by which all is out that is published meanwhile."""
    door = make_door(engine, redis_client, images=pictures)
    door.newsroom.channels(1, 2)
    door.clock.now_ms = now_ms() + HOUR_MS
    return door


@pytest.fixture
def editor(door: Door) -> Member:
    return Member(door, Role.EDITOR)


@pytest.fixture
def operator(door: Door) -> Member:
    return Member(door, Role.OPERATOR)


def names(door: Door) -> list[str]:
    """The channels that readers are told of, two seconds later than the last time."""
    door.clock.advance(2000)
    return [channel["name"] for channel in door.get("/channels").json["results"]]


def picture(width: int = 400, height: int = 300, kind: str = "PNG") -> bytes:
    written = io.BytesIO()
    # A GIF has a palette; to find one for pixels takes seconds where there are millions.
    mode = "P" if kind == "GIF" else "RGB"
    Image.new(mode, (width, height), "teal").save(written, kind)
    return written.getvalue()


def upload(member: Member, data: bytes) -> testing.Result:
    return member.send_raw("/images", data)


def test_a_channel_is_opened_renamed_and_merged(door: Door, editor: Member) -> None:
    opened = editor.send("POST", "/channels", {"name": "Die Küste"})
    assert opened.status_code == 201
    channel_id = opened.json["channel_id"]
    assert opened.headers["Location"] == f"/operator/channels/{channel_id}"
    assert "Die Küste" in names(door)
    problem(editor.send("POST", "/channels", {"name": "die küste"}), 409, "channel-taken")

    path, tag = f"/channels/{channel_id}", opened.headers["ETag"]
    problem(editor.send("PATCH", path, {"name": "Coast"}), 428, "precondition-needed")
    renamed = editor.send("PATCH", path, {"name": "Coast"}, If_Match=tag)
    assert (renamed.json["name"], renamed.json["slug"]) == ("Coast", opened.json["slug"])
    problem(editor.send("PATCH", path, {"name": "Shore"}, If_Match=tag), 412, "stale-record")
    assert "Coast" in names(door)

    article_id = editor.create(channel_id=channel_id, publish=True)["article_id"]
    lines = editor.get("/operator/channels")["results"]
    assert {line["channel_id"]: line["articles"] for line in lines}[channel_id] == 1
    problem(editor.send("DELETE", path, If_Match="*"), 409, "channel-used")
    merged = editor.send("POST", f"{path}/merge", {"into": 1}, If_Match=renamed.headers["ETag"])
    assert (merged.status_code, merged.json) == (200, {"articles": 1})
    assert door.get(f"/articles/{article_id}").json["channel_id"] == 1
    assert "Coast" not in names(door)
    problem(editor.send("GET", f"/operator{path}"), 404, "unknown-channel")


def test_an_empty_channel_is_deleted(door: Door, editor: Member) -> None:
    tag = editor.send("GET", "/operator/channels/2").headers["ETag"]

    assert editor.send("DELETE", "/channels/2", If_Match=tag).status_code == 204

    assert "Channel 2" not in names(door)
    problem(editor.send("DELETE", "/channels/2", If_Match="*"), 404, "unknown-channel")


@pytest.mark.parametrize("body", [{"name": "…"}, {"name": "x" * 200}, {"name": ""}, {}, {"nam": 1}])
def test_a_channel_needs_a_name(editor: Member, body: dict[str, Any]) -> None:
    problem(editor.send("POST", "/channels", body), 422, "invalid-request")


def test_a_source_is_added_changed_paused_and_removed(door: Door, operator: Member) -> None:
    added = operator.send("POST", "/sources", {"address": ADDRESS, "every_s": 900})
    assert added.status_code == 201
    assert (added.json["kind"], added.json["state"], added.json["added_by"]) == (
        "feed", "active", "key:operator"
    )  # fmt: skip
    path = added.headers["Location"]
    again = operator.send("POST", "/sources", {"address": ADDRESS})
    assert again.json == added.json

    problem(operator.send("PATCH", path, {"state": "paused"}), 428, "precondition-needed")
    tag = operator.send("GET", path).headers["ETag"]
    changed = operator.send("PATCH", path, {"channel_id": 2, "every_s": 600}, If_Match=tag)
    assert (changed.json["channel_id"], changed.json["every_s"]) == (2, 600)
    problem(operator.send("PATCH", path, {"state": "paused"}, If_Match=tag), 412, "stale-record")
    tag = changed.headers["ETag"]
    assert operator.send("PATCH", path, {"state": "paused"}, If_Match=tag).json["state"] == "paused"
    assert operator.send("PATCH", path, {"state": "active"}, If_Match="*").json["state"] == "active"
    assert operator.get(f"{path}/runs") == {"results": [], "next": None}

    assert operator.send("DELETE", path, If_Match="*").status_code == 204
    problem(operator.send("GET", path), 404, "unknown-source")
    verbs = [entry["verb"] for entry in operator.get("/operator/audit", noun="source")["results"]]
    assert verbs == ["remove", "resume", "pause", "edit", "add"]


@pytest.mark.parametrize(
    "body",
    [
        {"address": "file:///etc/passwd"},
        {"address": ""},
        {"address": ADDRESS, "every_s": 1},
        {"address": ADDRESS, "channel_id": 99},
        {"address": ADDRESS, "channel_id": 10**20},
        {"every_s": 900},
    ],
)
def test_a_source_that_cannot_be_is_refused(operator: Member, body: dict[str, Any]) -> None:
    answer = operator.send("POST", "/sources", body)

    assert answer.status_code == 422, answer.text
    assert all(source["address"] is None for source in operator.get("/sources")["results"])


def test_what_is_no_feed_is_not_paused(operator: Member) -> None:
    """The two sources that every site has: files, and what editors write."""
    kinds = {source["source_id"]: source["kind"] for source in operator.get("/sources")["results"]}

    assert kinds == {1: "file", 2: "editor"}
    for path in ("/sources/1", "/sources/2"):
        problem(
            operator.send("PATCH", path, {"state": "paused"}, If_Match="*"), 422, "source-refused"
        )


def test_sources_are_listed_by_pages_and_by_state(operator: Member) -> None:
    for number in range(3):
        operator.send("POST", "/sources", {"address": f"https://example.org/{number}"})
    operator.send("PATCH", "/sources/4", {"state": "paused"}, If_Match="*")

    first = operator.get("/sources", limit=2)
    rest = operator.get("/sources", limit=3, after=first["next"])

    assert [source["source_id"] for source in first["results"] + rest["results"]] == [1, 2, 3, 4, 5]
    paused = operator.get("/sources", state="paused")["results"]
    assert [source["source_id"] for source in paused] == [4]


def test_the_audit_log_says_who_did_what_in_which_request(door: Door, editor: Member) -> None:
    article_id = editor.create(publish=True)["article_id"]
    editor.send(
        "POST", f"/articles/{article_id}/take-down", If_Match="*", X_Request_Id="the-night-shift"
    )

    entries = editor.get("/operator/audit", noun="article", id=article_id)["results"]

    assert [entry["verb"] for entry in entries] == ["take_down", "publish", "create"]
    last = entries[0]
    assert (last["actor"], last["request_id"]) == ("key:editor", "the-night-shift")
    assert last["reader_id"] == editor.get("/reader")["reader_id"]
    assert (last["before"]["status"], last["after"]["status"]) == ("published", "taken_down")
    assert abs(last["at"] - now_ms()) < 600_000


def test_the_audit_log_is_read_by_pages_and_by_who(
    door: Door, editor: Member, operator: Member
) -> None:
    for key in "abc":
        editor.create(key)
    operator.create("d")

    first = operator.get("/operator/audit", limit=3)
    rest = operator.get("/operator/audit", limit=3, after=first["next"])

    actors = [entry["actor"] for entry in first["results"] + rest["results"]]
    assert actors == ["key:operator", "key:editor", "key:editor", "key:editor"]
    assert rest["next"] is None
    assert len(operator.get("/operator/audit", actor="key:operator")["results"]) == 1


def test_editors_are_not_told_of_sources(editor: Member, operator: Member) -> None:
    operator.send("POST", "/sources", {"address": ADDRESS})
    editor.create()

    assert [entry["noun"] for entry in editor.get("/operator/audit")["results"]] == ["article"]
    assert len(operator.get("/operator/audit")["results"]) == 2
    problem(editor.send("GET", "/operator/audit?noun=source"), 403, "role-too-small")
    problem(editor.send("GET", "/operator/audit?noun=sauce"), 422, "invalid-request")


def test_a_picture_is_kept_once_and_shown_as_a_cover(door: Door, editor: Member) -> None:
    author = Member(door, Role.AUTHOR)

    kept = upload(author, picture())
    again = upload(editor, picture())

    assert kept.status_code == again.status_code == 201
    assert kept.json == again.json
    address = kept.json["address"]
    assert (kept.json["width"], kept.headers["Location"]) == (400, address)
    served = door.get(address)
    assert served.headers["Content-Type"] == "image/webp"
    assert Image.open(io.BytesIO(served.content)).size == (400, 300)
    article_id = editor.create(cover=address, publish=True)["article_id"]
    assert door.get(f"/articles/{article_id}").json["cover"] == address
    entries = editor.get("/operator/audit", noun="image")["results"]
    assert [entry["after"]["digest"] for entry in entries] == [kept.json["digest"]]


BAD = {
    "nothing": b"",
    "a text": b"no picture",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "a picture cut off": picture()[:200],
    "more pixels than are taken": picture(6000, 5000, "GIF"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_is_refused(door: Door, editor: Member, name: str) -> None:
    problem(upload(editor, BAD[name]), 422, "picture-refused")

    with door.newsroom.engine.connect() as conn:
        assert conn.scalar(select(func.count()).select_from(image)) == 0


def test_what_hides_behind_a_picture_is_not_kept(door: Door, editor: Member) -> None:
    hidden = b"<script>alert(1)</script>"

    kept = upload(editor, picture() + hidden)

    assert hidden not in door.get(kept.json["address"]).content


def test_a_picture_that_is_too_long_is_refused_before_it_is_decoded(editor: Member) -> None:
    problem(upload(editor, b"x" * (PICTURE_BYTES + 1)), 413, "body-too-large")


def test_a_picture_without_room_leaves_no_file(pictures: Path, editor: Member) -> None:
    noise = io.BytesIO()
    Image.effect_noise((600, 600), 200).convert("RGB").save(noise, "JPEG", quality=90)
    kept = 0
    while (answer := upload(editor, _turned(noise.getvalue(), kept))).status_code == 201:
        kept += 1
        assert kept < 20

    problem(answer, 507, "images-full")
    assert kept
    files = [path for path in pictures.rglob("*") if path.is_file()]
    assert len(files) == kept
    assert sum(path.stat().st_size for path in files) <= IMAGES_MAX_BYTES


def _turned(data: bytes, degrees: int) -> bytes:
    """Another picture of the same size."""
    written = io.BytesIO()
    Image.open(io.BytesIO(data)).rotate(degrees).save(written, "JPEG", quality=90)
    return written.getvalue()
