"""Sources from the shell: each change is in the audit log, and what cannot be is one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from tests.conftest import NOWHERE
from tests.lab.web import Web, serve_web
from tidings.commands.main import main
from tidings.editing.audit import find_entries
from tidings.news.channels import read_channels
from tidings.news.listing import has_articles
from tidings.process.errors import PREFIX

Type = Callable[..., Result]
SEA = "https://sea.example.org/feed"


@pytest.fixture
def typed(
    database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Type:
    """`typed("list")` at a shell of that site."""
    for name, value in {
        "DATABASE_URL": database_url,
        "REDIS_URL": f"redis://{NOWHERE}/0",
        "VAR_DIR": str(tmp_path / "var"),
        "FETCH_PRIVATE_ADDRESSES": "yes",
    }.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, ["sources", *words])

    return run


@pytest.fixture
def web() -> Iterator[Web]:
    with serve_web() as served:
        yield served


def feeds(typed: Type) -> list[dict[str, Any]]:
    lines = typed("list", "--json").stdout.splitlines()
    return [found for found in map(json.loads, lines) if found["kind"] in ("feed", "list")]


def test_a_feed_is_added_paused_resumed_and_removed(typed: Type, engine: Engine) -> None:
    """By the user of the shell, who is in the log."""
    assert typed("add", SEA, "--channel", "Sea", "--every", "30").exit_code == 0
    (found,) = feeds(typed)
    assert (found["state"], found["address"]) == ("active", SEA)
    id_ = str(found["source_id"])
    shown = json.loads(typed("show", id_, "--json").stdout.splitlines()[0])
    with engine.connect() as conn:
        (channel,) = read_channels(conn)
    assert (shown["every_s"], shown["channel_id"]) == (1800, channel.channel_id)

    assert typed("pause", id_).output == f"source {id_} is paused\n"
    assert [found["state"] for found in feeds(typed)] == ["paused"]
    assert typed("resume", id_).output == f"source {id_} is active\n"
    assert typed("remove", id_).output == f"source {id_} is removed; its articles stay\n"
    assert feeds(typed) == []
    with engine.connect() as conn:
        entries = find_entries(conn, limit=10, nouns=["source"])
    assert [entry.verb for entry in entries] == ["remove", "resume", "pause", "edit", "add"]
    assert {entry.actor.partition(":")[0] for entry in entries} == {"shell"}


def test_every_feed_of_a_list_is_added(typed: Type, tmp_path: Path) -> None:
    """In the channel of its folder; what is no address, or a list itself, is named and left out."""
    listed = tmp_path / "list.opml"
    listed.write_text(
        "<opml><body><outline text='Coast'>"
        f"<outline text='a' xmlUrl='{SEA}'/><outline text='b' xmlUrl='file:///etc/passwd'/>"
        "<outline text='c' xmlUrl='https://list.example/more.opml'/>"
        "</outline></body></opml>"
    )
    said = typed("add", str(listed))
    assert said.exit_code == 0
    assert "line 1: 'file:///etc/passwd' is no http or https address" in said.output
    assert "line 1: https://list.example/more.opml is a list itself" in said.output
    (found,) = feeds(typed)
    assert found["address"] == SEA


def test_a_check_shows_what_would_come_in_and_stores_nothing(
    typed: Type, web: Web, engine: Engine
) -> None:
    url = web.serve(
        "/feed",
        "<rss version='2.0'><channel><title>Sea</title><item><title>High tide</title>"
        "<link>https://sea.example.org/1</link><description>Words.</description></item>"
        "</channel></rss>",
    )
    said = typed("check", url)
    assert said.exit_code == 0
    assert said.output.startswith(f"Sea: 1 entries at {url}\n")
    assert "High tide" in said.output
    assert feeds(typed) == []
    with engine.connect() as conn:
        assert not has_articles(conn)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("pause", "99"), "there is no source 99"),
        (("remove", "1"), "is of kind file, which is never asked"),
        (("add", "no-such-list.opml"), "No such file"),
        (("add", "http://"), "is no http or https address"),
        (("add", "http://me:secret@sea.example.org/"), "a user name in the address"),
        (("check", "https://127.0.0.1:1/feed"), "Connection refused"),
    ],
)
def test_what_cannot_be_is_one_line(typed: Type, words: tuple[str, ...], expected: str) -> None:
    said = typed(*words)
    assert said.exit_code == 1
    assert expected in said.output
    assert said.output.count("\n") == 1
