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
from tidings_idl.recommend.ttypes import Article, ArticleResponse, Reason, ReportRequest, Track

I64 = st.integers(-(2**63), 2**63 - 1)
TRACK = ("click", "collect", "reading", "liking")
FIELDS = ("article_id", *TRACK)


@st.composite
def pages(draw: st.DrawFn) -> tuple[int, ArticleResponse, list[Row]]:
    """A length of strings; a page; and the rows of its articles."""
    size = draw(st.integers(0, 40))
    token = st.text(st.characters(codec="ascii"), min_size=size, max_size=size)
    found = draw(st.lists(st.tuples(I64, st.lists(token, min_size=4, max_size=4)), max_size=12))
    articles = [Article(number, Track(*tokens)) for number, tokens in found]
    rows: list[Row] = [(number, *map(str.encode, tokens)) for number, tokens in found]
    return size, ArticleResponse(draw(st.text(max_size=20)), draw(I64), articles), rows


def row(**changed: Any) -> Row:
    """One with plain values, in the order of `FIELDS`."""
    values = {"article_id": 1, **dict.fromkeys(TRACK, b"aaaa"), **changed}
    return tuple(values[name] for name in FIELDS)


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


@given(st.permutations(FIELDS))
def test_a_value_goes_by_its_name(names: list[str]) -> None:
    """The order of a row is the one declared, and not the one of the IDL."""
    values: dict[str, int | bytes] = {"article_id": 7}
    values |= {name: name[:4].encode() for name in TRACK}
    packer = Pages(ArticleResponse, names, string_bytes=4)

    assert packer.encode(
        ArticleResponse("", 0), [tuple(values[name] for name in names)]
    ).decoded().recommends == [Article(7, Track(*(name[:4] for name in TRACK)))]


def test_a_field_that_rows_do_not_carry_is_absent() -> None:
    """As when a field is added to the IDL before any program knows it: every feed goes on."""
    packer = Pages(ArticleResponse, ("article_id", "collect"), string_bytes=4)
    packed = packer.encode(ArticleResponse("", 0), [(1, b"aaaa"), (2, b"bbbb")])

    articles = [
        Article(1, Track(None, "aaaa", None, None)),
        Article(2, Track(None, "bbbb", None, None)),
    ]
    assert packed.data == encoded(ArticleResponse("", 0, articles))


def test_a_field_added_to_the_idl_changes_nothing_until_rows_carry_it() -> None:
    """Trap: with values by their place, one more field in `Track` was an internal error for every
    feed."""
    later = SimpleNamespace(
        __name__="Track",
        thrift_spec=(*spec_of(Track), (7, TType.STRING, "sharing", "UTF8", None)),
    )
    number, kind, *others = spec_of(Article)[1:]
    article = SimpleNamespace(
        __name__="Article",
        thrift_spec=(None, number, (*kind[:3], [later, None], kind[4]), *others),
    )
    head, stamp, listed = spec_of(ArticleResponse)[1:]
    of = (TType.STRUCT, [article, None], False)
    grown = SimpleNamespace(
        __name__="ArticleResponse", thrift_spec=(None, head, stamp, (*listed[:3], of, listed[4]))
    )
    before = Pages(ArticleResponse, FIELDS, string_bytes=4)._pack(1, [*row()])
    after = Pages(grown, FIELDS, string_bytes=4)._pack(1, [*row()])
    carried = Pages(grown, (*FIELDS, "sharing"), string_bytes=4)._pack(1, [*row(), b"bbbb"])

    assert after == before
    assert carried == before[:-2] + b"\x0b\0\x07\0\0\0\4bbbb" + before[-2:]


def test_a_name_that_the_idl_does_not_have_is_said_at_start() -> None:
    with pytest.raises(TypeError, match=r"^ArticleResponse\.recommends has no field called share$"):
        Pages(ArticleResponse, (*FIELDS, "share"), string_bytes=4)


def test_what_does_not_fit_is_refused() -> None:
    """Trap: `struct` fills up a token that is too short and cuts off one that is too long, without
    a word."""
    packer = Pages(ArticleResponse, FIELDS, string_bytes=4)
    head = ArticleResponse("", 0)
    assert isinstance(packer.encode(head, [row()]), Encoded)
    for wrong in (b"", b"aaa", b"aaaaa"):
        for name in TRACK:
            with pytest.raises(ValueError, match="4 bytes"):
                packer.encode(head, [row(), row(**{name: wrong})])
    for uneven in (row()[:-1], (*row(), b"aaaa")):
        with pytest.raises(ValueError, match="rows of 5"):
            packer.encode(head, [uneven])
    with pytest.raises(TypeError):
        packer.encode(head, [row()[:-1], (*row(), b"aaaa")])
    with pytest.raises(struct.error):
        packer.encode(head, [row(article_id=2**64)])
    with pytest.raises(struct.error):
        packer.encode(head, [row(click="text")])


def test_only_lists_of_plain_structs_can_be_packed() -> None:
    for kind in (Article, Error):
        with pytest.raises(TypeError):
            Pages(kind, FIELDS, string_bytes=10)
    events = Pages(ReportRequest, ["token", "at", "read_ms"], string_bytes=10)
    sent = events.encode(ReportRequest(), [(b"0123456789", 5, 7)]).decoded()
    assert sent.events[0].read_ms == 7
    alone = Pages(ReportRequest, ["at"], string_bytes=10)
    assert alone.encode(ReportRequest(), [(5,)]).decoded().events[0].at == 5


REASONS = st.none() | st.builds(Reason, st.text(max_size=20), I64)


@given(pages(), st.lists(REASONS, min_size=12, max_size=12))
def test_a_tail_is_the_bytes_of_its_struct_at_the_end_of_its_item(
    page: tuple[int, ArticleResponse, list[Row]], reasons: list[Any]
) -> None:
    """Of any length, and absent where there is none."""
    size, response, rows = page
    for article, reason in zip(response.recommends, reasons, strict=False):
        article.reason = reason
    packer = Pages(ArticleResponse, FIELDS, string_bytes=size, tail="reason")
    tails = [packer.encode_tail(reason) if reason else b"" for reason in reasons[: len(rows)]]

    packed = packer.encode(ArticleResponse(response.exposure, response.time_stamp), rows, tails)

    assert packed.data == encoded(response)
    assert packed.decoded() == response


@pytest.mark.parametrize("tail", ["track", "article_id", "season"])
def test_a_tail_that_is_not_the_last_struct_is_an_error_of_the_start(tail: str) -> None:
    with pytest.raises(TypeError, match=f"no struct called {tail}"):
        Pages(ArticleResponse, FIELDS, string_bytes=4, tail=tail)


def test_a_missing_tail_is_not_made_up() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Pages(ArticleResponse, FIELDS, string_bytes=4, tail="reason").encode(
            ArticleResponse("", 0), [row(), row()], [b""]
        )
    with pytest.raises(TypeError, match="no tail"):
        Pages(ArticleResponse, FIELDS, string_bytes=4).encode_tail(Reason("fresh", 0))
