"""Where the request that is coming in ends, found while it comes, so that a thread is asked only
for whole ones.

No parser: it looks for the end of the head, and then for that of the body by the one length or the
one coding that says so plainly. All else, and all that looks wrong, it hands on at once to
gunicorn's parser, which is strict, reads every byte again and has the last word; where the two
disagree about the end, the connection is closed. Rejected: parsing on the thread that owns the
connections, which would do every client's work there.

    end = framing.find_end(inbox)  # None while more has to come
"""

from __future__ import annotations

import re

from gateway.resources.bodies import longest
from tidings.http.errors import BodyTooLargeError, HeadTooLargeError, TargetTooLongError

# As gunicorn's own parser is told; browsers and proxies send lines of at most 8 KB.
MAX_LINE_BYTES = 4094
MAX_FIELD_BYTES = 8190
MAX_FIELDS = 64
# Cookies and all: four times what common proxies take in by default.
MAX_HEAD_BYTES = 32 * 1024
# Of a chunk's length: eight hexadecimal digits are 4 GiB.
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?")
_MAX_CHUNK_LINE_BYTES = 1024
# The parser copies what is left of a body for each chunk: 50,000 of one byte cost it 1.4 s, and
# 5,000 cost .03 s. Clients send chunks of kilobytes; a body of crumbs may have this many, and one
# more for each so many bytes.
_MAX_CRUMBS, _CHUNK_BYTES = 1024, 64
_MAX_TRAILER_BYTES = 8 * 1024
# A line that does not end in CRLF, or a first byte that begins no method.
_BROKEN = re.compile(rb"(?<!\r)\n|\r(?!\n)(?!\Z)|\A[^!-~\r]")
# Nothing here may be tried in two ways: a kilobyte of blanks would hold the door for seconds.
_FIELD = re.compile(
    rb"\r\n(content-length|transfer-encoding|expect)[ \t]*+:([^\r\n]*+)(?=\r\n)", re.IGNORECASE
)
_BLANKS = b" \t"
_CRLF = b"\r\n"


class Framing:
    """Of one connection: where its present request ends.

    Attributes:
        body_from: where the body begins; 0 while the head is not whole.
        is_plain: there is no body, and nothing in the head that could tell another reader of one.
        wants_word: the client waits for `100 Continue` before it sends the body.
    """

    __slots__ = (
        "_chunk_from",
        "_chunks",
        "_data_bytes",
        "_end",
        "_looked_to",
        "_max_body_bytes",
        "_usual_body_bytes",
        "body_from",
        "is_plain",
        "wants_word",
    )

    def __init__(self, max_body_bytes: int) -> None:
        self._usual_body_bytes = self._max_body_bytes = max_body_bytes
        self.begin()

    def begin(self) -> None:
        """Look for the next request."""
        self.body_from = self._end = self._looked_to = 0
        self._chunk_from = self._chunks = self._data_bytes = 0
        self.is_plain = self.wants_word = False

    def find_end(self, inbox: bytearray) -> int | None:
        """Where the request at the start of `inbox` ends; None if more has to come.

        Raises:
            TargetTooLongError, HeadTooLargeError, BodyTooLargeError: it will not be taken.
        """
        if not self.body_from:
            # One empty line before a request is allowed: old clients end a body with it.
            if inbox.startswith(_CRLF):
                del inbox[:2]
            # PERF: only what is new: a head that comes in crumbs would cost its length for each.
            found = inbox.find(b"\r\n\r\n", max(self._looked_to - 3, 0))
            if found < 0:
                return self._check_unfinished_head(inbox)
            if found > MAX_HEAD_BYTES:
                raise HeadTooLargeError(f"at most {MAX_HEAD_BYTES} bytes of headers are taken")
            self.body_from = found + 4
            self._measure(bytes(inbox[: found + 2]))
        if self._chunk_from:
            return self._follow_chunks(inbox)
        return self._end if len(inbox) >= self._end else None

    def _check_unfinished_head(self, inbox: bytearray) -> int | None:
        if inbox.find(_CRLF, 0, MAX_LINE_BYTES + 2) < 0 and len(inbox) > MAX_LINE_BYTES + 2:
            raise TargetTooLongError(f"at most {MAX_LINE_BYTES} bytes are taken")
        if len(inbox) > MAX_HEAD_BYTES:
            raise HeadTooLargeError(f"at most {MAX_HEAD_BYTES} bytes of headers are taken")
        # The last byte may have been half of a line's end.
        looked_from, self._looked_to = max(self._looked_to - 1, 0), len(inbox)
        return len(inbox) if _BROKEN.search(inbox, looked_from) else None

    def _measure(self, head: bytes) -> None:
        lengths, codings, self._end = [], [], self.body_from
        first_line = head.partition(_CRLF)[0]
        self._max_body_bytes = longest(first_line, usual=self._usual_body_bytes)
        found = _FIELD.findall(head)
        self.is_plain = not found and _BROKEN.search(head) is None
        for name, padded in found:
            value = padded.strip(_BLANKS)
            match name.lower():
                case b"content-length":
                    lengths.append(value)
                case b"transfer-encoding":
                    codings.append(value.lower())
                case b"expect":
                    self.wants_word = value.lower() == b"100-continue"
        self.wants_word = self.wants_word and first_line.endswith(b" HTTP/1.1")
        if codings == [b"chunked"] and not lengths:
            self._chunk_from = self.body_from
        elif len(lengths) == 1 and not codings and lengths[0].isdigit():
            # Python itself refuses to read numbers of more than some thousand digits.
            length = int(lengths[0][:20])
            if length > self._max_body_bytes:
                raise BodyTooLargeError(
                    f"{length} bytes were announced, at most {self._max_body_bytes} are taken"
                )
            self._end += length

    def _follow_chunks(self, inbox: bytearray) -> int | None:
        while True:
            longest = self._chunk_from + _MAX_CHUNK_LINE_BYTES
            line_end = inbox.find(_CRLF, self._chunk_from, longest)
            if line_end < 0:
                return len(inbox) if len(inbox) > longest else None
            found = _CHUNK.fullmatch(inbox, self._chunk_from, line_end)
            if found is None:
                return len(inbox)
            size = int(found[1], 16)
            if size == 0:
                return _find_trailers_end(inbox, line_end)
            self._data_bytes += size
            self._chunks += 1
            self._chunk_from = line_end + 2 + size + 2
            framing_bytes = self._chunk_from - self.body_from - self._data_bytes
            # The chunks' own lines may take as much again: a body in crumbs is no reason to hold
            # six times its size.
            if max(self._data_bytes, framing_bytes) > self._max_body_bytes:
                raise BodyTooLargeError(f"at most {self._max_body_bytes} bytes are taken")
            if self._chunks > _MAX_CRUMBS + self._data_bytes // _CHUNK_BYTES:
                raise BodyTooLargeError(f"its chunks are too small: {self._chunks} and no end")


def _find_trailers_end(inbox: bytearray, line_end: int) -> int | None:
    end = inbox.find(b"\r\n\r\n", line_end)
    if end >= 0:
        return end + 4
    return len(inbox) if len(inbox) - line_end > _MAX_TRAILER_BYTES else None
