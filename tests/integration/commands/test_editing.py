"""An editor at the shell, on both databases: articles from files, channels, and what is written
down about it."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from sqlalchemy import Engine

from tests.lab.newsroom import Clock, Newsroom
from tests.lab.sites import PATIENT
from tidings.commands.main import main
from tidings.process.clock import now_ms
from tidings.process.errors import PREFIX

Type = Callable[..., Result]
STORY = "# High tide\n\nThe *harbour* is full.\n"


@pytest.fixture
def newsroom(engine: Engine) -> Newsroom:
    room = Newsroom(engine, Clock(now_ms()))
    room.channels(1, 2)
    return room


@pytest.fixture
def typed(
    newsroom: Newsroom, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Type:
    """`typed("articles", "list")` at a shell of that site; `text` is what it reads."""
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", database_url)
    monkeypatch.setenv(f"{PREFIX}REDIS_URL", redis_url)
    monkeypatch.setenv(f"{PREFIX}REDIS_TIMEOUT_S", str(PATIENT["redis_timeout_s"]))

    def run(*words: object, text: str = "") -> Result:
        return CliRunner().invoke(main, [str(word) for word in words], input=text)

    return run


def rows(done: Result) -> list[dict[str, Any]]:
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def shown(typed: Type, article_id: int) -> dict[str, Any]:
    (found,) = rows(typed("articles", "show", article_id, "--json"))
    return found


def test_an_article_is_written_in_a_file_and_reviewed(typed: Type, tmp_path: Path) -> None:
    """From its draft to its publication; each step says in a line what it did."""
    file = tmp_path / "story.md"
    file.write_text(STORY)
    made = typed("articles", "create", file, "--channel", "channel-1", "--author", "Ada Quill")
    said = "article 1 is a draft; `tidings articles publish 1` shows it\n"
    assert made.output == said
    steps = [
        (("submit", 1), "article 1 waits for its review\n"),
        (("review", 1, "--return", "Which?"), "article 1 is a draft again\n"),
        (("edit", 1, "--title", "Tide", "--summary", "Full."), "article 1 is changed\n"),
        (("submit", 1), "article 1 waits for its review\n"),
        (("review", 1, "--publish"), "article 1 is published\n"),
        (("move", 1, "--to", "2"), "article 1 stands in channel-2\n"),
    ]
    for words, expected in steps:
        assert typed("articles", *words).output == expected

    article = shown(typed, 1)
    assert (article["title"], article["summary"], article["note"]) == ("Tide", "Full.", "Which?")
    assert (article["status"], article["channel"]) == ("published", "channel-2")
    assert article["body"] == "<p>The <em>harbour</em> is full.</p>"
    log = rows(typed("audit", "--noun", "article", "--id", 1, "--json"))
    verbs = ["create", "submit", "return", "edit", "submit", "approve", "move"]
    assert [entry["verb"] for entry in log] == verbs[::-1]
    assert {entry["actor"] for entry in log} == {f"shell:{getpass.getuser()}"}


def test_the_text_can_come_from_a_pipe_and_be_html(typed: Type) -> None:
    """A title that is said leaves the first heading in the text."""
    typed("articles", "create", "-", "--channel", "1", "--title", "T", text=STORY)
    html = "<h1>Tide</h1><p onclick='x()'>Full.</p>"
    typed("articles", "edit", 1, "-", "--html", text=html)

    assert shown(typed, 1)["body"] == "<h1>Tide</h1><p>Full.</p>"
    assert shown(typed, 1)["title"] == "T"
    typed("articles", "edit", 1, "-", text=STORY)
    assert (shown(typed, 1)["title"], shown(typed, 1)["markdown"]) == (
        "High tide",
        "\nThe *harbour* is full.\n",
    )


def test_a_preview_stores_nothing(typed: Type) -> None:
    done = typed("articles", "preview", "-", text=STORY + "<script>alert(1)</script>")

    expected = "High tide\n\nThe harbour is full.\n\n<p>The <em>harbour</em> is full.</p>\n"
    assert done.output == expected
    (row,) = rows(typed("articles", "preview", "-", "--json", text=STORY))
    assert row["title"] == "High tide"
    assert rows(typed("articles", "list", "--json")) == []


def test_a_deleted_article_is_gone_and_stays_in_the_log(typed: Type, newsroom: Newsroom) -> None:
    id_ = newsroom.article(title="Mistake")

    assert typed("articles", "delete", id_).output == f"article {id_} is deleted\n"

    assert rows(typed("articles", "list", "--json")) == []
    assert typed("articles", "show", id_).exit_code == 1
    table = typed("audit").output
    assert "title: Mistake -> -" in table
    assert f"article {id_}" in table


def test_the_log_tells_of_a_new_article_what_it_has(typed: Type) -> None:
    """Not that it has no cover, as it had none before."""
    typed("articles", "create", "-", "--channel", "1", text=STORY)

    told = typed("audit").output

    assert "title: - -> High tide; " in told
    assert "- -> -" not in told


def test_articles_are_found_by_author_source_and_text(typed: Type, newsroom: Newsroom) -> None:
    newsroom.authors(5)
    id_ = newsroom.article(author_id=5, title="The tide")
    newsroom.article()

    for words in (("--author", "Author 5"), ("--text", "TIDE")):
        found = rows(typed("articles", "list", "--json", *words))
        assert [row["article_id"] for row in found] == [id_]
    assert len(rows(typed("articles", "list", "--json", "--source", 1))) == 2
    assert typed("articles", "list", "--source", 2).output == "there are no such articles\n"


def test_channels_are_opened_renamed_merged_and_deleted(typed: Type, newsroom: Newsroom) -> None:
    newsroom.article()
    steps = [
        (("add", "Café"), "channel 3 is open: cafe\n"),
        (("rename", "cafe", "Where to eat"), "channel 3 is called Where to eat\n"),
        (("merge", "channel-1", "--into", "cafe"), "1 articles of channel-1 stand in cafe\n"),
        (("delete", "2"), "channel 2 is deleted\n"),
    ]
    for words, expected in steps:
        assert typed("channels", *words).output == expected

    (left,) = rows(typed("channels", "list", "--json"))
    assert left == {"channel_id": 3, "slug": "cafe", "name": "Where to eat", "articles": 1}


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        (("create", "-", "--channel", "sea"), STORY, "there is no channel 'sea'"),
        (("create", "-", "--channel", "1"), "No heading.", "title: missing"),
        (("create", "-", "--channel", "1"), "# T\n", "body: missing"),
        (("create", "-", "--channel", "for-you"), STORY, "channel_id: there is no channel 0"),
        (("preview", "-", "--url", "ftp://x"), STORY, "url: expected an http or https address"),
        (("edit", "99", "--title", "T"), "", "there is no article 99"),
        (("edit", "1", "--language", "?"), "", "language: expected one such as en or pt-BR"),
        (("move", "1", "--to", "sea"), "", "there is no channel 'sea'"),
        (("submit", "1"), "", "article 1 is published; it cannot be submitted"),
        (("review", "1", "--return", "No."), "", "article 1 is published; it cannot be returned"),
        (("review", "1", "--publish"), "", "article 1 is published; it cannot be approved"),
        (("delete", "99"), "", "there is no article 99"),
    ],
)
def test_what_cannot_be_is_one_line_and_changes_nothing(
    typed: Type, newsroom: Newsroom, words: tuple[str, ...], text: str, expected: str
) -> None:
    newsroom.article(id=1)
    before = shown(typed, 1)

    done = typed("articles", *words, text=text)

    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert done.output.startswith(f"Error: {expected}")
    assert shown(typed, 1) == before
    assert rows(typed("audit", "--json")) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("add", "Channel 1"), "there is a channel 'channel-1' already"),
        (("add", "?!"), "name: expected a letter or a digit in it"),
        (("rename", "sea", "X"), "there is no channel 'sea'"),
        (("merge", "1", "--into", "1"), "into: expected another channel"),
        (("delete", "1"), "articles stand in channel 1; move or merge them first"),
        (("delete", "for-you"), "there is no channel 0"),
    ],
)
def test_a_channel_that_cannot_be_so_is_one_line(
    typed: Type, newsroom: Newsroom, words: tuple[str, ...], expected: str
) -> None:
    newsroom.article()

    done = typed("channels", *words)

    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert done.output.startswith(f"Error: {expected}")
    assert len(rows(typed("channels", "list", "--json"))) == 2


def test_a_review_decides_one_way(typed: Type, newsroom: Newsroom) -> None:
    id_ = newsroom.article(status="in_review")

    for words in ((), ("--publish", "--return", "No.")):
        done = typed("articles", "review", id_, *words)
        assert (done.exit_code, "either --publish or --return" in done.output) == (2, True)


def test_a_picture_is_kept_for_covers_and_texts(
    typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}VAR_DIR", str(tmp_path / "var"))
    drawn = tmp_path / "tide.png"
    Image.new("RGB", (640, 360), "navy").save(drawn)
    kept = typed("images", "add", drawn)
    address = kept.stdout.strip()
    story = tmp_path / "story.md"
    story.write_text(f"{STORY}\n![High tide]({address})\n")
    made = typed("articles", "create", story, "--channel", "channel-1", "--cover", address)

    assert kept.exit_code == made.exit_code == 0, kept.output + made.output
    (entry,) = rows(typed("articles", "list", "--status", "draft", "--json"))
    article = shown(typed, entry["article_id"])
    assert f'<img src="{address}" alt="High tide" loading="lazy">' in article["body"]
    assert article["image"] == address.removeprefix("/images/")
    digest = address.removeprefix("/images/")
    assert (tmp_path / "var" / "images" / digest[:2] / digest).exists()


def test_what_is_no_picture_is_refused_in_a_line(
    typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}VAR_DIR", str(tmp_path / "var"))
    drawing = tmp_path / "tide.svg"
    drawing.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    refused = typed("images", "add", drawing)

    assert refused.exit_code == 1
    assert "it is no picture in JPEG, PNG, GIF, WEBP" in refused.output
