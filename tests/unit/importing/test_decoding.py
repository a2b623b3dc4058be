"""Characters of a document, whatever bytes stand for them and whatever is said of them."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.importing import decoding
from tidings.importing.decoding import charset_of, decode, lines_in_utf8
from tidings.importing.delimited import read_csv
from tidings.importing.jsonl import read_jsonl

WORDS = "<a>Zoë €</a>"


def text(data: bytes, charset: str = "") -> str:
    return "".join(decode(io.BytesIO(data), charset))


def declared(encoding: str, words: str = WORDS) -> str:
    return f'<?xml version="1.0" encoding="{encoding}"?>{words}'


@pytest.mark.parametrize(
    ("data", "charset"),
    [
        pytest.param(WORDS.encode(), "", id="nothing is said of UTF-8"),
        pytest.param(WORDS.encode("cp1252"), "", id="nothing is said of Windows's Latin"),
        pytest.param(b"\xef\xbb\xbf" + WORDS.encode(), "iso-8859-1", id="a mark before the server"),
        pytest.param(WORDS.encode("utf-16"), "utf-8", id="a mark of UTF-16"),
        pytest.param(WORDS.encode("utf-16-be"), "", id="UTF-16 without a mark"),
        pytest.param(WORDS.encode("utf-16-le"), "", id="UTF-16 the other way round"),
        pytest.param(WORDS.encode("utf-32"), "", id="a mark of UTF-32"),
        pytest.param(WORDS.encode("utf-32-be"), "", id="UTF-32 without a mark"),
        pytest.param(WORDS.encode("utf-32-le"), "", id="UTF-32 the other way round"),
        pytest.param(WORDS.encode("cp1252"), "windows-1252", id="by the server"),
        pytest.param(WORDS.encode(), "utf8mb4", id="a charset that is none"),
        pytest.param(WORDS.encode(), "idna", id="a codec that is none of documents"),
        pytest.param(WORDS.encode(), "us-ascii", id="ASCII that is UTF-8"),
        pytest.param(WORDS.encode(), "utf-16", id="UTF-16 by word only"),
        pytest.param(WORDS.encode(), "\0", id="no name at all"),
    ],
)
def test_the_same_words_in_many_bytes(data: bytes, charset: str) -> None:
    """By the mark, else the server, else the document, else UTF-8."""
    assert text(data, charset) == WORDS


@pytest.mark.parametrize(
    ("encoding", "codec", "words"),
    [
        ("ISO-8859-15", "iso-8859-15", WORDS),
        ("ISO-8859-1", "cp1252", "<a>“café” 5 €…</a>"),
        ("latin1", "cp1252", "<a>“café” 5 €…</a>"),
        ("iso-8859-9", "cp1254", "<a>“şey”</a>"),
        ("x-gbk", "gb18030", "<a>海鎔</a>"),
        ("Windows-31J", "cp932", "<a>海①</a>"),
        ("x-mac-cyrillic", "mac-cyrillic", "<a>Жж</a>"),
        ("windows-1251", "cp1251", "<a>Жж</a>"),
        ("koi8-r", "koi8-r", "<a>Жж</a>"),
        ("Shift_JIS", "cp932", "<a>海①</a>"),
        ("EUC-JP", "euc-jp", "<a>海</a>"),
        ("gb2312", "gb18030", "<a>海鎔</a>"),
        ("big5", "big5", "<a>海</a>"),
        ("Big5", "big5hkscs", "<a>嘅①</a>"),
        ("x-x-big5", "big5hkscs", "<a>海</a>"),
        ("GB_2312-80", "gb18030", "<a>海</a>"),
        ("x-euc-jp", "euc-jp", "<a>海</a>"),
        ("x-windows-949", "cp949", "<a>바다똠</a>"),
        ("ISO-8859-8-E", "iso-8859-8", "<a>ים</a>"),
        ("iso88592", "iso-8859-2", "<a>Łódź</a>"),
        ("x-cp1251", "cp1251", "<a>Жж</a>"),
        ("euc-kr", "cp949", "<a>바다똠</a>"),
        ("utf-16", "utf-8", WORDS),
        ("no-such", "utf-8", WORDS),
    ],
)
def test_a_document_says_its_encoding(encoding: str, codec: str, words: str) -> None:
    """Also one of several bytes a character, which expat cannot read; a word that cannot be true is
    passed over."""
    document = declared(encoding, words)
    assert text(document.encode(codec)) == document


def test_the_server_is_believed_before_the_document() -> None:
    """As RFC 7303 has it: a server that recodes does not rewrite the document."""
    document = declared("utf-8")
    assert text(document.encode("iso-8859-15"), "ISO-8859-15") == document


def test_a_bad_byte_costs_one_character() -> None:
    """And not the document, nor what stands beside it."""
    assert text(
        declared("utf-8", "<a>caf\u00e9 b\udcffr</a>").encode(errors="surrogateescape")
    ) == (declared("utf-8", "<a>caf\u00e9 b\ufffdr</a>"))


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 9))
def test_characters_are_whole_however_the_bytes_are_cut(words: str, chunk_bytes: int) -> None:
    """A piece may end within a character."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "CHUNK_BYTES", chunk_bytes)
        assert text(b"\xef\xbb\xbf" + words.encode()) == words


@given(st.binary(max_size=200), st.text(max_size=12))
def test_any_bytes_are_text(data: bytes, charset: str) -> None:
    """Whatever is said of them; no character is one that UTF-8 cannot hold."""
    text(data, charset).encode()


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("text/xml; charset=ISO-8859-1", "ISO-8859-1"),
        ('text/xml; charset="UTF-8";', "UTF-8"),
        ("text/xml", ""),
        ("", ""),
        ("rss; charset", ""),
        ("rss; charset*1=a; charset*=b", ""),
        ("text/xml;\r\n charset=utf-8", "utf-8"),
    ],
)
def test_a_content_type_may_name_a_charset(content_type: str, charset: str) -> None:
    """In quotes or not."""
    assert charset_of(content_type) == charset


ROWS = [{"title": "Zoë", "body": "€"}, {"title": "B", "body": "b"}]
CSV = "title,body\nZoë,€\nB,b\n"
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_files_of_lines_come_in_by_every_encoding_and_line_end(encoding: str, end: str) -> None:
    """As spreadsheets save them, on old machines too."""

    def rows(reader: Any, content: str) -> list[Any]:
        stream = io.BytesIO(content.replace("\n", end).encode(encoding))
        return [row.values for row in reader(lines_in_utf8(stream))]

    assert rows(read_csv, CSV) == ROWS
    assert rows(read_jsonl, JSONL) == ROWS


def test_a_return_within_a_cell_is_no_line_end() -> None:
    """Where the file's lines end otherwise."""
    stream = lines_in_utf8(io.BytesIO(b'title,body\n"a\rb",c\n'))
    assert [row.values["title"] for row in read_csv(stream) if not hasattr(row, "reason")] == [
        "a\rb"
    ]
