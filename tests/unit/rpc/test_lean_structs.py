"""Structs made without their `__init__` are in all that shows what the generated ones are."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thrift.protocol import fastbinary
from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.transport.TTransport import TMemoryBuffer

from tidings.rpc.wire.structs import quick
from tidings_idl.base.ttypes import Error
from tidings_idl.recommend.ttypes import Article, ArticleResponse, Track, UserRequest

MAYBE_TEXT = st.none() | st.text(max_size=9)
MAYBE_I64 = st.none() | st.integers(-(2**63), 2**63 - 1)
TRACKS = st.builds(Track, MAYBE_TEXT, MAYBE_TEXT, MAYBE_TEXT, MAYBE_TEXT)
RESPONSES = st.builds(
    ArticleResponse,
    MAYBE_TEXT,
    MAYBE_I64,
    st.none() | st.lists(st.builds(Article, MAYBE_I64, st.none() | TRACKS)),
)


def decoded(struct: Any, codec: list[Any]) -> Any:
    kind = type(struct)
    data = fastbinary.encode_binary(struct, [kind, kind.thrift_spec])
    made = codec[0]()
    fastbinary.decode_binary(made, TBinaryProtocolAccelerated(TMemoryBuffer(data)), codec)
    return made


@given(RESPONSES)
def test_a_quick_struct_is_its_parent_in_all_that_shows(response: ArticleResponse) -> None:
    """With any field absent, at any depth."""
    spec: list[Any] = [ArticleResponse, vars(ArticleResponse)["thrift_spec"]]
    made, stock = decoded(response, quick(ArticleResponse)), decoded(response, spec)

    assert isinstance(made, ArticleResponse)
    assert made == stock == response
    assert not made != stock  # noqa: SIM202 - it is another method
    assert stock == made
    assert repr(made) == repr(stock)
    for copied in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert copied == stock
    assert fastbinary.encode_binary(made, spec) == fastbinary.encode_binary(stock, spec)


def test_differences_are_seen() -> None:
    one, other = (decoded(Track(click, "b", None, None), quick(Track)) for click in "ab")
    assert one != other
    assert one != Track("b", "b")
    assert Track("b", "b") != one
    assert one != "a"


def test_an_absent_field_has_its_default_and_can_be_set() -> None:
    made = quick(UserRequest)[0]()
    assert (made.user_id, made.article_num) == (None, UserRequest().article_num)
    made.user_id = 3
    assert made.user_id == 3
    with pytest.raises(AttributeError, match="no attribute 'nickname'"):
        _ = made.nickname


def test_exceptions_are_made_by_their_own_class() -> None:
    """They carry state that `__init__` sets up."""
    assert quick(Error)[0] is Error
