"""Pages that are packed without structs: the very bytes that the structs would have become."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift.protocol import fastbinary

from tidings.rpc.wire.encoded import Encoded, Pages
from tidings_idl.base.ttypes import Error
from tidings_idl.recommend.ttypes import Article, ArticleResponse, ReportRequest, Track

I64 = st.integers(-(2**63), 2**63 - 1)


@st.composite
def pages(draw: st.DrawFn) -> tuple[int, ArticleResponse, list[Any]]:
    """A length of strings; a page; and the values of its articles in a row."""
    size = draw(st.integers(0, 40))
    token = st.text(st.characters(codec="ascii"), min_size=size, max_size=size)
    rows = draw(st.lists(st.tuples(I64, token, token, token, token), max_size=12))
    articles = [Article(row[0], Track(*row[1:])) for row in rows]
    values = [value if isinstance(value, int) else value.encode() for row in rows for value in row]
    return size, ArticleResponse(draw(st.text(max_size=20)), draw(I64), articles), values


@given(pages())
def test_a_packed_page_is_the_bytes_of_its_structs(
    page: tuple[int, ArticleResponse, list[Any]],
) -> None:
    size, response, values = page

    packed = Pages(ArticleResponse, size).encode(
        ArticleResponse(response.exposure, response.time_stamp), values
    )

    assert packed.data == fastbinary.encode_binary(
        response, [ArticleResponse, vars(ArticleResponse)["thrift_spec"]]
    )
    assert packed.decoded() == response


def test_a_token_of_another_length_is_refused() -> None:
    """Trap: `struct` fills up what is too short and cuts off what is too long, without a word."""
    packer = Pages(ArticleResponse, 4)
    good = [1, b"aaaa", b"bbbb", b"cccc", b"dddd"]
    assert isinstance(packer.encode(ArticleResponse("", 0), good), Encoded)
    for wrong in (b"", b"aaa", b"aaaaa"):
        for at in range(1, 5):
            with pytest.raises(ValueError, match="4 bytes"):
                packer.encode(ArticleResponse("", 0), [*good[:at], wrong, *good[at + 1 :]])
    with pytest.raises(ValueError, match="whole items"):
        packer.encode(ArticleResponse("", 0), good[:-1])
    with pytest.raises(struct.error):
        packer.encode(ArticleResponse("", 0), [2**64, *good[1:]])
    with pytest.raises(struct.error):
        packer.encode(ArticleResponse("", 0), [1, "text", *good[2:]])


def test_only_lists_of_plain_structs_can_be_packed() -> None:
    for kind in (Article, Error, ReportRequest):
        if kind is ReportRequest:
            assert (
                Pages(kind, 10).encode(kind(), [b"0123456789", 5, 7]).decoded().events[0].read_ms
                == 7
            )
        else:
            with pytest.raises(TypeError):
                Pages(kind, 10)
