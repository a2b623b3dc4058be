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

from tidings.rpc.wire.encoded import Columns, Encoded, Pages
from tidings_idl.base.ttypes import Error
from tidings_idl.recommend.ttypes import Article, ArticleResponse, ReportRequest, Track

I64 = st.integers(-(2**63), 2**63 - 1)
TRACK = ("click", "collect", "reading", "liking")
FIELDS = ("article_id", *TRACK)


@st.composite
def pages(draw: st.DrawFn) -> tuple[int, ArticleResponse, Columns]:
    """A length of strings; a page; and the columns of its articles."""
    size = draw(st.integers(0, 40))
    token = st.text(st.characters(codec="ascii"), min_size=size, max_size=size)
    found = draw(st.lists(st.tuples(I64, token, token, token, token), max_size=12))
    articles = [Article(values[0], Track(*values[1:])) for values in found]
    columns: dict[str, list[int | float | bytes]] = {
        name: [str(values[at]).encode() for values in found] for at, name in enumerate(TRACK, 1)
    }
    columns["article_id"] = [number for number, *_ in found]
    return size, ArticleResponse(draw(st.text(max_size=20)), draw(I64), articles), columns


def one(**changed: Any) -> Columns:
    """The columns of a single article."""
    values = {"article_id": 1, **dict.fromkeys(TRACK, b"aaaa"), **changed}
    return {name: [value] for name, value in values.items()}


def encoded(response: ArticleResponse) -> bytes:
    data: bytes = fastbinary.encode_binary(response, [ArticleResponse, spec_of(ArticleResponse)])
    return data


def spec_of(kind: Any) -> Any:
    """Generated classes carry no annotations."""
    return kind.thrift_spec


@given(pages())
def test_a_packed_page_is_the_bytes_of_its_structs(
    page: tuple[int, ArticleResponse, Columns],
) -> None:
    size, response, columns = page

    packed = Pages(ArticleResponse, FIELDS, string_bytes=size).encode(
        ArticleResponse(response.exposure, response.time_stamp), columns
    )

    assert packed.data == encoded(response)
    assert packed.decoded() == response


def test_the_order_of_names_is_of_no_consequence() -> None:
    """Neither where they are declared nor in the columns."""
    packer = Pages(ArticleResponse, sorted(FIELDS), string_bytes=4)
    columns = one(click=b"1111", liking=b"2222")
    backwards = {name: columns[name] for name in reversed(FIELDS)}

    assert packer.encode(ArticleResponse("", 0), backwards).decoded().recommends == [
        Article(1, Track("1111", "aaaa", "aaaa", "2222"))
    ]


def test_a_field_that_has_no_column_is_absent() -> None:
    """As when a field is added to the IDL before any program knows it: every feed goes on."""
    packer = Pages(ArticleResponse, ("article_id", "collect"), string_bytes=4)
    packed = packer.encode(
        ArticleResponse("", 0), {"article_id": [1, 2], "collect": [b"aaaa", b"bbbb"]}
    )

    articles = [
        Article(1, Track(None, "aaaa", None, None)),
        Article(2, Track(None, "bbbb", None, None)),
    ]
    assert packed.data == encoded(ArticleResponse("", 0, articles))


def test_a_field_added_to_the_idl_changes_nothing_until_it_has_a_column() -> None:
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
    before = Pages(ArticleResponse, FIELDS, string_bytes=4)._pack(1, one())
    after = Pages(grown, FIELDS, string_bytes=4)._pack(1, one())
    carried = Pages(grown, (*FIELDS, "sharing"), string_bytes=4)._pack(1, one(sharing=b"bbbb"))

    assert after == before
    assert carried == before[:-2] + b"\x0b\0\x06\0\0\0\4bbbb" + before[-2:]


def test_a_name_that_the_idl_does_not_have_is_said_at_start() -> None:
    with pytest.raises(TypeError, match=r"^ArticleResponse\.recommends has no field called share$"):
        Pages(ArticleResponse, (*FIELDS, "share"), string_bytes=4)


def test_what_does_not_fit_is_refused() -> None:
    """Trap: `struct` fills up a token that is too short and cuts off one that is too long, without
    a word."""
    packer = Pages(ArticleResponse, FIELDS, string_bytes=4)
    head = ArticleResponse("", 0)
    assert isinstance(packer.encode(head, one()), Encoded)
    for wrong in (b"", b"aaa", b"aaaaa"):
        for name in TRACK:
            with pytest.raises(ValueError, match="4 bytes"):
                packer.encode(head, one(**{name: wrong}))
    for uneven in ([], [b"aaaa", b"aaaa"]):
        with pytest.raises(ValueError, match="size"):
            packer.encode(head, {**one(), "click": uneven})
    with pytest.raises(KeyError):
        packer.encode(head, {"article_id": [1]})
    with pytest.raises(struct.error):
        packer.encode(head, one(article_id=2**64))
    with pytest.raises(struct.error):
        packer.encode(head, one(click="text"))


def test_only_lists_of_plain_structs_can_be_packed() -> None:
    for kind in (Article, Error):
        with pytest.raises(TypeError):
            Pages(kind, FIELDS, string_bytes=10)
    events = Pages(ReportRequest, ["token", "at", "read_ms"], string_bytes=10)
    sent: Columns = {"token": [b"0123456789"], "at": [5], "read_ms": [7]}
    assert events.encode(ReportRequest(), sent).decoded().events[0].read_ms == 7
    alone = Pages(ReportRequest, ["at"], string_bytes=10)
    assert alone.encode(ReportRequest(), sent).decoded().events[0].at == 5
