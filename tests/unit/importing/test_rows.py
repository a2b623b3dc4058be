"""What a row must hold to become an article, and the reason it is given when it does not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.importing.rows import NewArticle, Place, RowError, make_article, make_slug


def row(**values: Any) -> dict[str, Any]:
    return {"title": "A title", "body": "A body.", "channel": "news"} | values


def refusal(**values: Any) -> str:
    with pytest.raises(RowError) as caught:
        make_article(row(**values))
    return str(caught.value)


def test_a_full_row_becomes_an_article() -> None:
    """Every field that is understood, in its place."""
    made = make_article(
        {
            "id": 7,
            "source": "example.org",
            "slug": "a-title",
            "title": "  A\n title ",
            "summary": "A summary.",
            "body": "A *body*.",
            "channel": "content-strategy",
            "authors": ["First Writer", "Second Writer"],
            "published": "2026-01-31T08:30:00Z",
            "url": "https://example.org/7",
            "cover": "/7.png",
            "topics": ["ignored"],
        }
    )
    assert made == NewArticle(
        source_id="example.org:7",
        channel_slug="content-strategy",
        channel_name="Content strategy",
        author="First Writer",
        title="A title",
        summary="A summary.",
        body="<p>A <em>body</em>.</p>",
        cover="https://example.org/7.png",
        url="https://example.org/7",
        published_at=datetime(2026, 1, 31, 8, 30, tzinfo=UTC),
    )


def test_title_text_and_channel_are_enough() -> None:
    """What is missing is made from what is there, and an unknown publication stays unknown."""
    made = make_article(row(body="# Head\n\nFirst sentence. Second."))
    assert made.summary == "First sentence. Second."
    assert (made.author, made.url, made.cover, made.published_at) == (None, None, None, None)


def test_a_summary_can_stand_for_a_missing_body() -> None:
    """As plain text: it is no Markdown."""
    assert make_article(row(body=None, summary="1 * 2 * 3 < 7")).body == "<p>1 * 2 * 3 &lt; 7</p>"


def test_html_is_taken_as_html() -> None:
    """From its own field, or where the body obviously is HTML."""
    assert make_article(row(body="ignored", body_html="<p>Hi</p>")).body == "<p>Hi</p>"
    assert (
        make_article(row(body="<div>\n\n    <p>Hi</p></div>")).body
        == "<div>\n\n    <p>Hi</p></div>"
    )


@pytest.mark.parametrize(
    ("values", "identity"),
    [
        ({"id": 1, "url": "https://example.org/1"}, "1"),
        ({"id": "a", "source": "s"}, "s:a"),
        ({"url": "https://example.org/A"}, "https://example.org/A"),
        ({"slug": "a-title", "source": "s"}, "s/a-title"),
        ({"slug": "a-title"}, "news/a-title"),
        (
            {"id": "", "slug": " ", "url": None},
            "sha256:27a81a34ad0c9e11d3cbd6c92cbe0ec45fb2ac7bd1e32df6c3f5e1e41c4a0c12",
        ),
    ],
)
def test_identity_is_the_id_or_else_the_address_the_slug_or_the_title(
    values: dict[str, Any], identity: str
) -> None:
    """It must be the same at the next import, and another one for an article of another source."""
    made = make_article(row(**values))
    if identity.startswith("sha256:"):
        assert made.source_id == make_article(row(body="Another body.")).source_id
        assert made.source_id != make_article(row(title="Another title")).source_id
    else:
        assert made.source_id == identity


def test_a_long_identity_is_hashed() -> None:
    """The column holds 191 characters; cutting would make two articles one."""
    long = make_article(row(id="x" * 192)).source_id
    assert long.startswith("sha256:")
    assert long != make_article(row(id="x" * 193)).source_id
    assert make_article(row(id="x" * 191)).source_id == "x" * 191


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"title": ""}, "title: missing"),
        ({"title": None}, "title: missing"),
        ({"title": ["a"]}, "title: expected text, got a list"),
        ({"title": {"a": 1}}, "title: expected text, got an object"),
        ({"title": True}, "title: expected text, got true or false"),
        ({"title": 1.5}, "title: expected text, got a fraction"),
        ({"title": "x" * 513}, "title: 513 characters, at most 512"),
        ({"title": "a\x00b"}, "title: contains a NUL byte"),
        ({"title": "a\ud800b"}, "title: contains bytes that are not UTF-8"),
        ({"summary": "x" * 2049}, "summary: 2049 characters, at most 2048"),
        ({"body": ""}, "body: missing, and so is a summary that could stand for it"),
        ({"body": "<script>alert(1)</script>"}, "body: nothing is left of it once it is sanitised"),
        ({"body": "<p>" * 20_001}, "body: more than 20000 tags"),
        ({"body": "a\udcffb"}, "body: contains bytes that are not UTF-8"),
        ({"channel": ""}, "channel: missing"),
        ({"channel": "—"}, "channel: '—' holds no letter or digit"),
        ({"channel": "For you"}, "channel: 'for-you' is the name of all channels together"),
        ({"channel": "x" * 65}, "channel: 65 characters, at most 64"),
        ({"author": "x" * 129}, "author: 129 characters, at most 128"),
        ({"authors": [["a"]]}, "author: expected text, got a list"),
        (
            {"published": "soon"},
            "published: 'soon' is not a date; expected one such as 2026-01-31T08:30:00Z",
        ),
        ({"published_at": float("nan")}, "published_at: nan is not a date"),
        (
            {"url": "javascript:alert(1)"},
            "url: expected an http or https address, got 'javascript:alert(1)'",
        ),
        ({"url": "https://"}, "url: expected an http or https address, got 'https://'"),
        (
            {"url": "https://exa mple.org"},
            "url: expected an http or https address, got 'https://exa mple.org'",
        ),
        ({"url": "https://[::1"}, "url: expected an http or https address, got 'https://[::1'"),
        ({"url": "https://example.org/" + "x" * 1024}, "url: 1044 characters, at most 1024"),
        (
            {"cover": "data:image/png;base64,"},
            "cover: expected an http or https address, got 'data:image/png;base64,'",
        ),
        (
            {"cover": "/relative.png"},
            "cover: expected an http or https address, got '/relative.png'",
        ),
        ({"id": 10**5000}, "id: the number is too long"),
        ({"id": 1.5}, "id: expected text, got a fraction"),
    ],
)
def test_a_bad_row_is_refused_with_one_reason_that_names_the_field(
    values: dict[str, Any], reason: str
) -> None:
    """The person who mends the file reads this and nothing else."""
    assert refusal(**values) == reason


def test_control_characters_are_dropped_and_spaces_made_one() -> None:
    """They come with copied text; none of them may reach a page or a log line."""
    assert make_article(row(title="a\x07\x1b[31mb\t\n c\x7f")).title == "a[31mb c"


def test_the_default_channel_is_for_rows_that_name_none() -> None:
    """And does not override."""
    assert make_article(row(channel=""), default_channel="Sport").channel_slug == "sport"
    assert make_article(row(), default_channel="Sport").channel_slug == "news"


@pytest.mark.parametrize(
    ("channel", "slug", "name"),
    [
        ("how we work", "how-we-work", "How we work"),
        ("Best Practices", "best-practices", "Best Practices"),
        ("open_data", "open-data", "Open data"),
        ("Café & Bar", "cafe-bar", "Café & Bar"),
        ("体育", "体育", "体育"),
        ("Ελλάδα", "ελλαδα", "Ελλάδα"),
        ("Спортивный", "спортивный", "Спортивный"),
        ("バッグ", "バッグ", "バッグ"),
        ("パック", "パック", "パック"),
        ("ไทย น้ำ", "ไทย-น้ํา", "ไทย น้ำ"),
        ("हिन्दी", "हिन्दी", "हिन्दी"),
        ("Go", "go", "Go"),
        ("Go+", "go-plus", "Go+"),
        ("Go#", "go-sharp", "Go#"),
        ("+ more #1", "more-1", "+ more #1"),
        ("e-mail news", "e-mail-news", "E-mail news"),
        ("über-news", "uber-news", "über-news"),
        ("日本-中国", "日本-中国", "日本-中国"),
        (2026, "2026", "2026"),
    ],
)
def test_a_channel_gets_a_slug_and_a_readable_name(channel: object, slug: str, name: str) -> None:
    """Two spellings of one channel meet at its slug."""
    made = make_article(row(channel=channel))
    assert (made.channel_slug, made.channel_name) == (slug, name)


@given(st.text(max_size=80))
def test_a_slug_is_stable_and_plain(text: str) -> None:
    """The slug of a slug is itself, and holds nothing that an address would have to escape in
    ASCII."""
    slug = make_slug(text)
    assert make_slug(slug) == slug
    assert not set(slug) & set(" /?#&%_\"'<>")


@pytest.mark.parametrize(
    ("values", "author"),
    [
        ({"author": "A. Writer"}, "A. Writer"),
        ({"author": {"name": "A. Writer", "url": "x"}}, "A. Writer"),
        ({"authors": [{"name": "A. Writer"}, "B"]}, "A. Writer"),
        ({"authors": "A. Writer; B. Writer"}, "A. Writer"),
        ({"authors": []}, None),
        ({"author": {}}, None),
    ],
)
def test_the_first_author_signs(values: dict[str, Any], author: str | None) -> None:
    """However a source lists them."""
    assert make_article(row(**values)).author == author


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [
    "id",
    "source",
    "slug",
    "title",
    "summary",
    "body",
    "body_html",
    "channel",
    "author",
    "authors",
]
FIELDS += ["published", "published_at", "url", "cover", "image"]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_row_is_an_article_or_refused(values: dict[str, Any]) -> None:
    """No value of any type in any field raises anything else, and what is made can be stored."""
    try:
        made = make_article(values, default_channel="news")
    except RowError:
        return
    for text in (
        made.source_id,
        made.title,
        made.summary,
        made.body,
        made.channel_slug,
        made.channel_name,
    ):
        assert text
        assert "\x00" not in text
        text.encode()


def test_a_place_reads_as_people_say_it() -> None:
    """In the summary of an import."""
    assert str(Place(line=3)) == "line 3"
    assert (
        str(Place(entry=2, feed="https://example.org/feed"))
        == "entry 2 of https://example.org/feed"
    )
    assert (
        str(Place(line=3, entry=2, feed="https://example.org/feed"))
        == "line 3 of https://example.org/feed"
    )
