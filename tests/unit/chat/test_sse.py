"""A stream of events, as the server iterates it."""

from __future__ import annotations

import json
from unittest import mock

import pytest

from services.chat import sse as sse_module
from services.chat.closing import Closing
from services.chat.frames import Pong
from services.chat.framing import frame_text
from services.chat.sse import Stream, payload_of


@pytest.fixture
def cuts() -> list[None]:
    return []


@pytest.fixture
def stream(cuts: list[None]) -> Stream:
    stream = Stream(reader_id=7, role=None, key_id=None, cut=lambda: cuts.append(None))
    assert stream.take().startswith(b"retry: ")
    return stream


@pytest.mark.parametrize("size", [2, 125, 126, 65_535, 65_536])
def test_an_event_is_what_is_in_a_frame(size: int) -> None:
    payload = b"x" * size

    assert payload_of(frame_text(payload)) == payload


def test_what_has_a_place_bears_it_as_its_id(stream: Stream) -> None:
    stream.push(frame_text(b'{"pos":"0123abcd.1-0","type":"deleted"}'))
    stream.say(Pong())

    assert stream.take() == (
        b'id: 0123abcd.1-0\ndata: {"pos":"0123abcd.1-0","type":"deleted"}\n\n'
        b'data: {"type":"pong"}\n\n'
    )


def test_a_quiet_stream_tells_that_it_lives(stream: Stream) -> None:
    with mock.patch.object(sse_module, "KEEP_ALIVE_S", 0.001):
        assert stream.take() == b":\n\n"


def test_a_stream_that_is_not_read_is_cut_off(stream: Stream, cuts: list[None]) -> None:
    framed = frame_text(b"x" * 65_000)
    for _ in range(5):
        stream.push(framed)

    assert not stream.is_open
    assert len(cuts) == 1


def test_a_stream_that_is_read_may_be_told_any_amount(stream: Stream, cuts: list[None]) -> None:
    framed = frame_text(b"x" * 65_000)
    for _ in range(20):
        stream.push(framed)
        assert stream.take()

    assert stream.is_open
    assert not cuts


@pytest.mark.parametrize(
    ("closing", "retry"),
    [(Closing.RESTART, b"retry: 1234\n"), (Closing.REPLACED, b"retry: 60000\n")],
)
def test_an_end_says_why_and_when_to_come_back(
    stream: Stream, closing: Closing, retry: bytes
) -> None:
    stream.close(closing, 1234)
    stream.close(Closing.BUSY)
    said = stream.take()

    assert said.startswith(retry + b"event: close\n")
    assert json.loads(said.partition(b"data: ")[2])["code"] == closing.code
    assert stream.take() == b"", "the end"
