"""Reads the characters of a document, whatever bytes stand for them.

For XML the order is that of RFC 7303: a byte order mark, what the server said, what the document
says of itself, and else UTF-8. Every reader behind this one sees UTF-8 only. Rejected: guessing by
the frequency of letters, which is wrong for exactly the short documents that say nothing; and
leaving it to the parsers, each of which knows other encodings and gives up at the first bad byte.

    "".join(decode(io.BytesIO(b"caf\\xe9"), "iso-8859-1"))  # "café"
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from email.message import Message
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK_BYTES = 64 * 1024
# As much as tells UTF-8 from other encodings, and a file's line ends.
HEAD_BYTES = 64 * 1024
_BYTE_ORDER_MARKS = (
    # UTF-32 before UTF-16, whose mark is the beginning of the other's.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
# What a document without a mark begins with; its first character is always one of ASCII.
_ZEROS = (
    (re.compile(rb"[^\0]\0\0\0", re.DOTALL), "utf-32-le"),
    (re.compile(rb"\0\0\0[^\0]", re.DOTALL), "utf-32-be"),
    (re.compile(rb"[^\0]\0[^\0]", re.DOTALL), "utf-16-le"),
    (re.compile(rb"\0[^\0]\0", re.DOTALL), "utf-16-be"),
)
_PROLOG = re.compile(
    rb"<\?xml[^>]{0,200}?\sencoding\s*=\s*[\"']([\w.:-]{1,40})[\"']", re.ASCII | re.IGNORECASE
)
# Names that Python does not know, and those for which the world writes a larger set of characters
# than the name says. ASCII is read as UTF-8, in which it is the same.
_LABELS = {
    "ascii": "utf-8",
    "big5": "big5hkscs",
    "cn-big5": "big5hkscs",
    "x-big5": "big5hkscs",
    "gb2312": "gb18030",
    "gb_2312-80": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "ks_c_5601-1989": "cp949",
    "ksc_5601": "cp949",
    "windows-874": "cp874",
    "windows-949": "cp949",
    "windows-31j": "cp932",
    "mac-ukrainian": "mac-cyrillic",
    "koi": "koi8-r",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
}
# "x-" is what a name has before it is registered; "-i" and "-e" say how Hebrew and Arabic run.
_VARIANT = re.compile(r"(?:x-)*(?:iso-?8859-?(\d\d?)(?:-[ie])?|(.+))")
# Codecs for whole documents of text. Python has others, such as "idna" and "unicode_escape".
_CODECS = re.compile(
    r"utf-8|ascii|iso8859-\d\d?|cp(125\d|437|85\d|86\d|874|932|949|950)|koi8-[rtu]|gb18030|gb2312"
    r"|gbk|hz|big5(hkscs)?|euc_(jp|kr)|iso2022_(jp|kr)|shift_jis|mac-\w+|tis-620"
)


def decode(stream: BinaryIO, charset: str = "") -> Iterator[str]:
    """The characters of an XML document, in pieces. A byte that means nothing costs one
    character.

    Args:
        stream: the document, seekable; it is read from its start.
        charset: the encoding by the server's word; empty if it said none.
    """
    stream.seek(0)
    encoding, mark = _find_encoding(stream.read(HEAD_BYTES), charset)
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    stream.seek(mark)
    for chunk in _chunks(stream):
        if text := decoder.decode(chunk):
            yield text
    if text := decoder.decode(b"", True):
        yield text


def lines_in_utf8(stream: BinaryIO) -> BinaryIO:
    """The same lines in UTF-8, each ended by a line feed, of a file that has one record a line.

    UTF-16 and UTF-32 are recoded, and the bare carriage returns of a file without line feeds are
    line ends. Bytes of any other encoding stay as they are, for the row that holds them to be
    refused by its line.

    Args:
        stream: the file, seekable; it is read from its start.
    """
    stream.seek(0)
    # Of a file that is damaged further on, as many bytes as come at once.
    head = cast(io.BufferedIOBase, stream).read1(HEAD_BYTES)
    stream.seek(0)
    encoding = _by_mark_or_zeros(head)[0]
    is_wide = encoding.startswith(("utf-16", "utf-32"))
    text = head.decode(encoding, "replace") if is_wide else head.decode("iso-8859-1")
    # The last carriage return of the head may have its line feed behind it.
    has_bare_returns = "\n" not in text and "\r" in text[:-1]
    if not (is_wide or has_bare_returns):
        return stream
    pieces = _utf8(stream) if is_wide else _chunks(stream)
    if has_bare_returns:
        pieces = (piece.replace(b"\r", b"\n") for piece in pieces)
    return cast(BinaryIO, io.BufferedReader(_Pieces(pieces), CHUNK_BYTES))


def decode_head(head: bytes) -> str:
    """The first bytes of any file as text, to tell by what it is."""
    encoding, mark = _by_mark_or_zeros(head)
    return head[mark:].decode(encoding or "utf-8", "replace")


def charset_of(content_type: str) -> str:
    """The encoding that a Content-Type names; empty if it names none."""
    message = Message()
    message["Content-Type"] = " ".join(content_type.split())
    try:
        charset = message.get_param("charset")
    except TypeError:  # The standard library sorts numbered parts of a parameter with its whole.
        return ""
    return charset if isinstance(charset, str) else ""


def _find_encoding(head: bytes, charset: str) -> tuple[str, int]:
    """The codec, and how many bytes at the start are no text."""
    encoding, mark = _by_mark_or_zeros(head)
    if encoding:
        return encoding, mark
    prolog = _PROLOG.search(head[:1024])
    for label in (charset, prolog[1].decode() if prolog else ""):
        if label and (known := _codec(label)):
            return known, 0
    # Nothing was said. Bytes that are no UTF-8 were written by a program that knows no other
    # encoding than its machine's, which is nearly always this one.
    return ("utf-8" if _is_utf8(head) else "cp1252"), 0


def _by_mark_or_zeros(head: bytes) -> tuple[str, int]:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    for zeros, encoding in _ZEROS:
        if zeros.match(head):
            return encoding, 0
    return "", 0


def _codec(label: str) -> str:
    """The codec of a label; empty if there is none, or if the document cannot be in it: UTF-16
    without zeros is none."""
    label = label.strip().lower()
    if variant := _VARIANT.fullmatch(label):
        label = f"iso8859-{variant[1]}" if variant[1] else variant[2]
    try:
        name = codecs.lookup(_LABELS.get(label, label)).name
    except (LookupError, ValueError):
        return ""
    return _LABELS.get(name, name) if _CODECS.fullmatch(name) else ""


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _utf8(stream: BinaryIO) -> Iterator[bytes]:
    return (text.encode() for text in decode(stream))


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        target = memoryview(buffer).cast("B")
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
