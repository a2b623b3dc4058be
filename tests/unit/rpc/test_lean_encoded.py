"""Pages that are packed without structs: the very bytes that the structs would have become."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift.protocol import fastbinary
from thrift.Thrift import TType

from tidings.rpc.wire.encoded import Encoded, Pages, Row
from tidings_idl.base.ttypes import Error
from tidings_idl.recommend.ttypes import Article, ArticleResponse, ReportRequest, Track

I64 = st.integers(-(2**63), 2**63 - 1)
TRACK = ("click", "collect", "reading", "liking")
FIELDS = ("article_id", *TRACK)


@st.composite
def pages(draw: st.DrawFn) -> tuple[int, ArticleResponse, list[Row]]:
    """A length of strings; a page; and the rows of its articles."""
    size = draw(st.integers(0, 40))
    token = st.text(st.characters(codec="ascii"), min_size=size, max_size=size)
    found = draw(st.lists(st.tuples(I64, token, token, token, token), max_size=12))
    articles = [Article(values[0], Track(*values[1:])) for values in found]
    rows: list[Row] = [
        {"article_id": number, **dict(zip(TRACK, map(str.encode, tokens), strict=True))}
        for number, *tokens in found
    ]
    return size, ArticleResponse(draw(st.text(max_size=20)), draw(I64), articles), rows


def row(**changed: Any) -> Row:
    return {"article_id": 1, **dict.fromkeys(TRACK, b"aaaa"), **changed}


def encoded(response: ArticleResponse) -> bytes:
    data: bytes = fastbinary.encode_binary(response, [ArticleResponse, spec_of(ArticleResponse)])
    return data


def spec_of(kind: Any) -> Any:
    """Generated classes carry no annotations."""
    return kind.thrift_spec


@given(pages())
def test_a_packed_page_is_the_bytes_of_its_structs(
    page: tuple[int, ArticleResponse, list[Row]],
) -> None:
    size, response, rows = page

    packed = Pages(ArticleResponse, FIELDS, string_bytes=size).encode(
        ArticleResponse(response.exposure, response.time_stamp), rows
    )

    assert packed.data == encoded(response)
    assert packed.decoded() == response


def test_the_order_of_names_is_of_no_consequence() -> None:
    """Neither where they are declared nor in a row."""
    packer = Pages(ArticleResponse, sorted(FIELDS), string_bytes=4)
    values = row(click=b"1111", liking=b"2222")
    backwards = {name: values[name] for name in reversed(FIELDS)}

    assert packer.encode(ArticleResponse("", 0), [backwards]).decoded().recommends == [
        Article(1, Track("1111", "aaaa", "aaaa", "2222"))
    ]


def test_a_field_that_rows_do_not_carry_is_absent() -> None:
    """As when a field is added to the IDL before any program knows it: every feed goes on."""
    packer = Pages(ArticleResponse, ("article_id", "collect"), string_bytes=4)
    packed = packer.encode(ArticleResponse("", 0), [row(), row(article_id=2)])

    articles = [Article(number, Track(None, "aaaa", None, None)) for number in (1, 2)]
    assert packed.data == encoded(ArticleResponse("", 0, articles))


def test_a_field_added_to_the_idl_changes_nothing_until_rows_carry_it() -> None:
    """Trap: with values by their place, one more field in `Track` was an internal error for every
    feed."""
    later = SimpleNamespace(
        __name__="Track",
        thrift_spec=(*spec_of(Track), (6, TType.STRING, "sharing", "UTF8", None)),
    )
    number, kind = spec_of(Article)[1:]
    article = SimpleNamespace(
        __name__="Article", thrift_spec=(None, number, (*kind[:3], [later, None], kind[4]))
    )
    head, stamp, listed = spec_of(ArticleResponse)[1:]
    of = (TType.STRUCT, [article, None], False)
    grown = SimpleNamespace(
        __name__="ArticleResponse", thrift_spec=(None, head, stamp, (*listed[:3], of, listed[4]))
    )
    before = Pages(ArticleResponse, FIELDS, string_bytes=4)
    after = Pages(grown, FIELDS, string_bytes=4)
    carried = Pages(grown, (*FIELDS, "sharing"), string_bytes=4)

    assert after._pack(1, [*row().values()]) == before._pack(1, [*row().values()])
    assert (
        len(carried._pack(1, [*row().values(), b"aaaa"]))
        == len(before._pack(1, [*row().values()])) + 3 + 4 + 4
    )


def test_a_name_that_the_idl_does_not_have_is_said_at_start() -> None:
    with pytest.raises(TypeError, match=r"^ArticleResponse\.recommends has no field called share$"):
        Pages(ArticleResponse, (*FIELDS, "share"), string_bytes=4)


def test_a_token_of_another_length_is_refused() -> None:
    """Trap: `struct` fills up what is too short and cuts off what is too long, without a word."""
    packer = Pages(ArticleResponse, FIELDS, string_bytes=4)
    assert isinstance(packer.encode(ArticleResponse("", 0), [row()]), Encoded)
    for wrong in (b"", b"aaa", b"aaaaa"):
        for name in TRACK:
            with pytest.raises(ValueError, match="4 bytes"):
                packer.encode(ArticleResponse("", 0), [row(), row(**{name: wrong})])
    with pytest.raises(KeyError):
        packer.encode(ArticleResponse("", 0), [{"article_id": 1}])
    with pytest.raises(struct.error):
        packer.encode(ArticleResponse("", 0), [row(article_id=2**64)])
    with pytest.raises(struct.error):
        packer.encode(ArticleResponse("", 0), [row(click="text")])


def test_only_lists_of_plain_structs_can_be_packed() -> None:
    for kind in (Article, Error):
        with pytest.raises(TypeError):
            Pages(kind, FIELDS, string_bytes=10)
    events = Pages(ReportRequest, ["token", "at", "read_ms"], string_bytes=10)
    sent: list[Row] = [{"token": b"0123456789", "at": 5, "read_ms": 7}]
    assert events.encode(ReportRequest(), sent).decoded().events[0].read_ms == 7
    alone = Pages(ReportRequest, ["at"], string_bytes=10)
    assert alone.encode(ReportRequest(), sent).decoded().events[0].at == 5
