"""The one format of events: what a file may look like, and that a bad row costs its line only."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.importing.event_rows import (
    MAX_LINE_BYTES,
    NO_SESSION,
    REFERRERS,
    EventBlock,
    EventsHeaderError,
    context_code,
    read_events,
)
from tidings.reading.acts import Action

NOW_MS = 1_800_000_000_000


def read(text: str | bytes, until_ms: int = NOW_MS) -> list[EventBlock]:
    data = text.encode() if isinstance(text, str) else text
    return list(read_events(io.BytesIO(data), until_ms=until_ms))


def reasons(blocks: Sequence[EventBlock]) -> dict[str, str]:
    return {str(one.place): one.reason for block in blocks for one in block.rejects}


def test_seconds_and_milliseconds_are_told_apart_by_their_size() -> None:
    """A file may hold either; 10^11 seconds are three thousand years away."""
    (block,) = read("ts,user_id,article_id\n1506826800,7,12\n1506826801500,8,13\n")
    assert block.at_ms.tolist() == [1_506_826_800_000, 1_506_826_801_500]
    assert block.readers.tolist() == [7, 8]
    assert block.articles.tolist() == [12, 13]
    assert block.lines.tolist() == [2, 3]
    assert set(block.actions.tolist()) == {Action.CLICK}
    assert set(block.sessions.tolist()) == {NO_SESSION}


def test_columns_come_in_any_order_and_others_are_ignored() -> None:
    """With a byte order mark, quotes, semicolons and the line ends of Windows."""
    text = '\ufeff"article_id";country;ts;event;user_id\r\n"12";"BR";1506826800;read;7\r\n'
    (block,) = read(text)
    assert (block.articles.tolist(), block.readers.tolist()) == ([12], [7])
    assert block.actions.tolist() == [Action.READING]


@pytest.mark.parametrize("quoted", ["", '"'])
@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1506826800,7", "2 cells where the header has 3"),
        ("1506826800,7,12,1", "4 cells where the header has 3"),
        ("soon,7,12", "ts is 'soon', and not a whole number from 0 on"),
        ("1506826800,-7,12", "user_id is '-7', and not a whole number from 0 on"),
        ("1506826800,7,1_2", "article_id is '1_2', and not a whole number from 0 on"),
        ("1506826800,7,99999999999999999999", "not a whole number"),
        ("1506826800,7,", "article_id is '', and not a whole number from 0 on"),
        ("1506826800,7,0", "article_id is 0"),
        ("0,7,12", "ts is 0"),
        ("1900000000,7,12", "ts 1900000000 is in the future"),
    ],
)
def test_a_bad_row_is_named_and_those_around_it_are_read(
    row: str, reason: str, quoted: str
) -> None:
    """Whether the lines around it are plain or quoted."""
    good = f"1506826800,7,{quoted}12{quoted}"
    (block,) = read(f"ts,user_id,article_id\n{good}\n{row}\n{good}\n")
    assert block.lines.tolist() == [2, 4]
    ((place, told),) = reasons([block]).items()
    assert place == "line 3"
    assert reason in told


def test_ragged_rows_that_make_up_for_each_other_are_both_refused() -> None:
    """As many cells as three good rows would have."""
    (block,) = read("ts,user_id,article_id\n1506826800,7\n1506826800,7,12,13\n1506826800,7,12\n")
    assert (block.lines.tolist(), set(reasons([block]))) == ([4], {"line 2", "line 3"})


def test_an_event_that_is_none_is_refused_with_those_there_are() -> None:
    (block,) = read("ts,user_id,article_id,event\n1506826800,7,12,nod\n1506826800,7,12,\n")
    assert block.lines.tolist() == [3]
    assert "event is 'nod', and none of exposure, click," in reasons([block])["line 2"]


def test_a_line_without_an_end_costs_no_memory_and_one_row() -> None:
    """Three MiB of one line, in a file that goes on after it."""
    long = b"7" * (3 * 1024 * 1024)
    text = b"ts,user_id,article_id\n1506826800,7,12\n" + long + b"\n1506826800,7,13\n"
    blocks = read(text)
    assert np.concatenate([block.articles for block in blocks]).tolist() == [12, 13]
    assert reasons(blocks) == {"line 3": f"the line is longer than {MAX_LINE_BYTES} bytes"}
    assert np.concatenate([block.lines for block in blocks]).tolist() == [2, 4]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("", "no column called ts"),
        ("ts,user_id\n", "no column called article_id"),
        ("ts,ts,user_id,article_id\n", "the column ts appears twice"),
        ("time,user,article\n1,2,3\n", "no column called ts"),
    ],
)
def test_a_file_without_the_columns_is_no_file_of_events(header: str, said: str) -> None:
    with pytest.raises(EventsHeaderError, match=said):
        read(header)


def test_contexts_of_a_foreign_log_still_tell_apart() -> None:
    """Known names by their place, small codes as they are, other names somewhere behind."""
    (block,) = read(
        "ts,user_id,article_id,device,referrer\n"
        "1506826800,7,12,Mobile,search\n1506826800,7,12,3,7\n1506826800,7,12,,newsletter\n"
    )
    assert block.devices.tolist() == [2, 3, 0]
    assert block.referrers[:2].tolist() == [3, 7]
    assert len(REFERRERS) <= block.referrers[2] < 16
    assert context_code("newsletter", REFERRERS) == block.referrers[2]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 10**9), st.integers(0, 2**62), st.integers(1, 2**62), st.integers(0, 15)
        ),
        min_size=1,
    )
)
def test_both_ways_of_reading_a_block_agree(rows: list[tuple[int, int, int, int]]) -> None:
    """Digits alone are converted as a whole, a quote somewhere sends every line the other way."""
    header = "ts,user_id,article_id,referrer\n"
    plain = header + "".join(f"{a},{b},{c},{d}\n" for a, b, c, d in rows)
    quoted = header + "".join(f'{a},{b},{c},"{d}"\n' for a, b, c, d in rows)
    (one,), (other,) = read(plain), read(quoted)
    for column in ("lines", "at_ms", "readers", "articles", "sessions", "referrers"):
        assert getattr(one, column).tolist() == getattr(other, column).tolist()
    assert not one.rejects
    assert not other.rejects
