"""A source's format is told from its name, or from its content where the name says nothing."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tidings.importing.formats import Format, detect, read_input
from tidings.importing.inputs import InputError, open_input
from tidings.importing.rows import Row


def detect_file(folder: Path, name: str, content: bytes) -> Format:
    path = folder / name
    path.write_bytes(content)
    with open_input(str(path), folder) as source:
        found = detect(source)
        assert source.stream.read() == (
            gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        )
        return found


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("a.jsonl", Format.JSONL),
        ("a.NDJSON", Format.JSONL),
        ("a.csv", Format.CSV),
        ("a.tsv", Format.CSV),
        ("a.rss", Format.FEED),
        ("a.atom", Format.FEED),
        ("a.opml", Format.OPML),
    ],
)
def test_a_plain_name_decides(tmp_path: Path, name: str, format_: Format) -> None:
    """Not the content; also with .gz behind."""
    assert detect_file(tmp_path, name, b"?") is format_
    assert detect_file(tmp_path, name + ".gz", gzip.compress(b"?")) is format_


@pytest.mark.parametrize(
    ("content", "format_"),
    [
        (b'{"title": "a"}\n', Format.JSONL),
        (b'\xef\xbb\xbf\n {"title": "a"}\n', Format.JSONL),
        (b"id,Title,body\n1,a,b\n", Format.CSV),
        (b"id;title\n1;a\n", Format.CSV),
        (b"id,title\r1,a\r2,b\r", Format.CSV),
        ("id,title\n1,a\n".encode("utf-16"), Format.CSV),
        ("id,title\n1,a\n".encode("utf-16-be"), Format.CSV),
        ('{"title": "a"}\n'.encode("utf-32"), Format.JSONL),
        (b"<rss version='2.0'>", Format.FEED),
        (b"<?xml version='1.0'?><!-- <opml> --><feed xmlns='x'>", Format.FEED),
        ("<?xml version='1.0' encoding='utf-16'?><rdf:RDF>".encode("utf-16"), Format.FEED),
        (b"<?xml version='1.0'?><opml>", Format.OPML),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_content_decides_where_the_name_does_not(
    tmp_path: Path, content: bytes, format_: Format, packed: bool
) -> None:
    """Exports are called .xml, .txt, .json or nothing at all."""
    assert detect_file(tmp_path, "export", gzip.compress(content) if packed else content) is format_


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"[{}]", "is one JSON array"),
        (b"<!DOCTYPE html><html><body>", "begins with <html>"),
        (b"Dear reader,\n", "is neither JSONL, CSV with a title column, RSS, Atom nor OPML"),
        (b"\x00\x01title,\n", "is neither JSONL"),
        (b"The database is busy\rCome back later", "is neither JSONL"),
    ],
)
def test_what_it_cannot_tell_it_names_once(tmp_path: Path, content: bytes, message: str) -> None:
    """With the way out."""
    with pytest.raises(InputError, match=message) as caught:
        detect_file(tmp_path, "export", content)
    assert "--format" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "title,body,channel\rT,Zoë,news\r"),
        ("a.jsonl", '{"title": "T", "body": "Zoë", "channel": "news"}\n'),
        ("a.rss", "<rss><channel><item><title>T</title><guid>Zoë</guid></item></channel></rss>"),
    ],
)
def test_every_format_comes_in_by_every_unicode(
    tmp_path: Path, encoding: str, name: str, content: str
) -> None:
    """As editors of text and spreadsheets save them."""
    path = tmp_path / name
    path.write_bytes(content.encode(encoding))
    with open_input(str(path), tmp_path) as opened:
        [row] = read_input(opened, detect(opened), channel=None)
    assert isinstance(row, Row)
    assert "Zoë" in row.values.values()


def test_words_that_are_no_file_of_rows_are_refused_in_one_line(tmp_path: Path) -> None:
    """Trap: the csv module fails on a bare carriage return."""
    path = tmp_path / "busy.csv"
    path.write_bytes(b"The database is busy\rCome back later")
    with (
        open_input(str(path), tmp_path) as opened,
        pytest.raises(InputError, match="no column called title") as caught,
    ):
        list(read_input(opened, Format.CSV, channel=None))
    assert "\n" not in str(caught.value)
