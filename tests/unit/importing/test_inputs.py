"""Opening files: compressed, missing, piped, packed in ways we do not read."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tidings.importing import inputs
from tidings.importing.inputs import InputError, open_input


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    """Not by its name, and also in several members, as log rotation writes it."""
    path = tmp_path / "articles"
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    with open_input(str(path), tmp_path) as source:
        assert source.stream.read() == b"one\ntwo\n"
        assert source.fraction_read() == 1.0


def test_a_changed_file_has_another_fingerprint(tmp_path: Path) -> None:
    """So a checkpoint of the old one is not used for the new one."""
    path = tmp_path / "articles"
    path.write_bytes(b"one")
    with open_input(str(path), tmp_path) as source:
        before = source.fingerprint
    os.utime(path, ns=(0, 1))
    with open_input(str(path), tmp_path) as source:
        assert source.fingerprint != before


def test_standard_input_can_be_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is copied first; the same content has the same fingerprint."""
    fingerprints = set()
    for content in (b"one", b"one", b"two"):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        with open_input("-", tmp_path) as source:
            assert source.stream.read() == content
            source.stream.seek(0)
            assert source.stream.read() == content
            fingerprints.add(source.fingerprint)
            assert source.name == "stdin"
    assert len(fingerprints) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_named_pipe_is_read_like_standard_input(tmp_path: Path) -> None:
    """A shell's <(…) is one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"one",))
    writer.start()
    with open_input(str(pipe), tmp_path) as source:
        assert source.stream.read() == b"one"
    writer.join(5)


def test_what_is_not_a_file_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless pipe must not fill the disk."""
    monkeypatch.setattr(inputs, "MAX_COPY_BYTES", 10)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"x" * 11)))
    with pytest.raises(InputError, match="-: more than 10 bytes"), open_input("-", tmp_path):
        pass


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_what_gzip_or_xz_packed_is_read_as_it_is(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    """And from its start again."""
    path = tmp_path / "articles"
    path.write_bytes(pack(b"one"))
    with open_input(str(path), tmp_path) as source:
        assert source.stream.read() == b"one"
        source.stream.seek(0)
        assert source.stream.read() == b"one"


@pytest.mark.parametrize(
    ("content", "packer"),
    [(b"PK\x03\x04..", "zip"), (b"BZh91AY", "bzip2"), (b"\x28\xb5\x2f\xfd", "zstd")],
)
def test_other_archives_are_refused_by_name(tmp_path: Path, content: bytes, packer: str) -> None:
    """Instead of being taken for an unreadable text."""
    path = tmp_path / "articles"
    path.write_bytes(content)
    with (
        pytest.raises(InputError, match=f"is packed with {packer}; unpack it first"),
        open_input(str(path), tmp_path),
    ):
        pass


def test_what_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    """With the name as it was given."""
    with pytest.raises(InputError, match=r"^no/such/file: No such file or directory$"):
        open_input("no/such/file", tmp_path).__enter__()
    with pytest.raises(InputError, match=r"Is a directory$"):
        open_input(str(tmp_path), tmp_path).__enter__()
    with pytest.raises(InputError, match="null byte"):
        open_input("a\x00b", tmp_path).__enter__()


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("/a/articles.jsonl.gz", "articles.jsonl.gz"),
        ("https://example.org/feeds/all.xml?x=1", "example.org-feeds-all.xml"),
        ("https://example.org/", "example.org"),
        ("../..", "source"),
        ("/a/.hidden file", "hidden_file"),
        ("/a/" + "x" * 300, "x" * 100),
    ],
)
def test_a_sources_name_can_name_a_file(location: str, name: str) -> None:
    """No slash, no leading dot, no space, not too long."""
    assert inputs._file_name(location) == name
