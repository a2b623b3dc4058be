"""Cuts a feed of any size into small feeds of a few entries each, and tells the line each entry
begins on.

feedparser takes a whole document and keeps all of it several times over; a feed of 100,000 entries
would need gigabytes. expat finds where entries begin and end while the document streams by, and
each group of entries is handed on between the head of the feed and its closing tags. What is not
well-formed cannot be cut like this; what follows the end of the feed is not looked at.

    for group in cut_feed([b"<rss><channel><item/></channel></rss>"]):
        feedparser.parse(group.document)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

GROUP_ENTRIES = 50
GROUP_BYTES = 1024 * 1024
MAX_HEAD_BYTES = 1024 * 1024
MAX_ENTRY_BYTES = 2 * 1024 * 1024
# feedparser's time grows with the square of their number: 80,000 on one element took it three
# minutes.
MAX_ATTRIBUTES = 200
# What an entry of a feed is called, in RSS and in Atom.
ENTRIES = frozenset({"item", "entry"})
_PARENTS = {"channel", "feed", "rdf"}


class CutError(ValueError):
    """The document is not well-formed XML."""


class BoundError(ValueError):
    """The document has a head or an element larger than any feed needs, and should not be parsed at
    all."""


@dataclass(slots=True)
class Group:
    """A small feed: the document, the line of each of its entries in the large one, and the lines
    of entries that were too long to be in it."""

    document: bytes
    lines: list[int]
    too_long: list[int]


def cut_feed(pieces: Iterable[bytes]) -> Iterator[Group]:
    """The feed as small feeds, in order.

    Args:
        pieces: the document, in UTF-8.

    Raises:
        CutError: from here on it cannot be cut; what came before is good.
        BoundError: the same, and what follows is better left alone.
    """
    cutter = _Cutter()
    fault: CutError | BoundError | None = None
    try:
        for piece in pieces:
            cutter.push(piece)
            if cutter.is_full:
                yield cutter.take()
            if cutter.is_done:
                break
        else:
            cutter.push(b"")
    except (CutError, BoundError) as ex:
        fault = ex
    if cutter.has_entries:
        yield cutter.take()
    if fault is not None:
        raise fault


@dataclass(slots=True)
class _Found:
    entries: list[bytes] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    too_long: list[int] = field(default_factory=list)


class _Cutter:
    """Keeps the bytes of the head and of the entry under way, addressed by their offset in the
    document."""

    def __init__(self) -> None:
        self._parser = expat.ParserCreate("utf-8")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._kept = bytearray()
        self._kept_from = 0
        self._open: list[str] = []
        self._head: bytes | None = None
        self._tail = b""
        self._entry_from: int | None = None
        self._entry_depth = 0
        self._is_too_long = False
        self._found = _Found()
        self.is_done = False

    @property
    def has_entries(self) -> bool:
        return bool(self._found.entries or self._found.too_long)

    @property
    def is_full(self) -> bool:
        entries = self._found.entries
        return len(entries) >= GROUP_ENTRIES or sum(map(len, entries)) >= GROUP_BYTES

    def push(self, chunk: bytes) -> None:
        """Take the next bytes of the document; none of them at its end.

        Raises:
            CutError: from here on it cannot be cut.
            BoundError: the same, and what follows is better left alone.
        """
        self._kept += chunk
        self._parse(chunk)
        self._forget()

    def take(self) -> Group:
        """The entries that were found since the last time."""
        assert self._head is not None
        entries, lines = self._found.entries, self._found.lines
        document = b"".join([self._head, *entries, self._tail])
        group = Group(document, lines[: len(entries)], self._found.too_long)
        # The line of an entry under way belongs to the next group.
        self._found = _Found(lines=lines[len(entries) :])
        return group

    def _parse(self, chunk: bytes) -> None:
        try:
            self._parser.Parse(chunk, not chunk)
        except _DoneError:
            self.is_done = True
        except expat.ExpatError as ex:
            raise CutError(
                f"not well-formed XML, line {ex.lineno}: {expat.ErrorString(ex.code)}"
            ) from None
        except BoundError:
            raise
        except (ValueError, LookupError) as ex:
            raise CutError(f"not readable as XML: {ex}") from None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(attributes) > MAX_ATTRIBUTES:
            raise BoundError(
                f"line {self._parser.CurrentLineNumber}: an element of {len(attributes)} attributes"
            )
        parent = self._open[-1] if self._open else ""
        self._open.append(name)
        if (
            self._entry_from is None
            and local_name(name) in ENTRIES
            and local_name(parent) in _PARENTS
        ):
            self._entry_from = self._parser.CurrentByteIndex
            self._entry_depth = len(self._open)
            self._found.lines.append(self._parser.CurrentLineNumber)
            if self._head is None:
                self._head = bytes(self._kept[: self._entry_from - self._kept_from])
                self._tail = "".join(f"</{name}>" for name in reversed(self._open[:-1])).encode()

    def _end(self, _name: str) -> None:
        if self._entry_from is not None and len(self._open) == self._entry_depth:
            if self._is_too_long:
                self._found.too_long.append(self._found.lines.pop())
            else:
                begin = self._entry_from - self._kept_from
                end = self._kept.index(b">", self._parser.CurrentByteIndex - self._kept_from) + 1
                self._found.entries.append(bytes(self._kept[begin:end]))
            self._entry_from = None
            self._is_too_long = False
        self._open.pop()
        if not self._open:
            # expat would refuse what many servers add: a script, the time it took.
            raise _DoneError

    def _forget(self) -> None:
        if self._head is None and self._entry_from is None:
            if len(self._kept) > MAX_HEAD_BYTES:
                raise BoundError(f"no entry within the first {MAX_HEAD_BYTES} bytes")
            return
        # The last event: nothing that expat has yet to look at lies before it.
        seen_to = max(self._parser.CurrentByteIndex, self._kept_from)
        if self._entry_from is not None and seen_to - self._entry_from > MAX_ENTRY_BYTES:
            self._is_too_long = True
        needed_from = seen_to
        if self._entry_from is not None and not self._is_too_long:
            needed_from = self._entry_from
        del self._kept[: needed_from - self._kept_from]
        self._kept_from = needed_from
        if len(self._kept) > 2 * MAX_ENTRY_BYTES:
            raise BoundError(f"an element is longer than {MAX_ENTRY_BYTES} bytes")


class _DoneError(Exception):
    """The feed has ended, whatever follows."""


def local_name(name: str) -> str:
    """The name of an element without its prefix, in small letters."""
    return name.rpartition(":")[2].lower()
