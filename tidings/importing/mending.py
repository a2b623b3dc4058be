"""Mends what keeps a document from being XML, and nothing else in it.

A bare ampersand, a reference that only HTML knows and a character that XML forbids stop every
strict parser, and stand in feeds of every day; a lenient parser that guesses what the rest of such
a document means changes addresses and titles. Here only the ampersand itself is written as it
should have been. Entities are declared by hardly a feed that means well: plain short ones are
replaced, and a document with any other is refused.

    "".join(mend(["<rss><title>R&D</title></rss>"]))  # "<rss><title>R&amp;D</title></rss>"
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from html import entities, unescape
from xml.sax.saxutils import escape

# Room for what stands before the first element, and for warnings of the program that made it.
PROLOG_CHARS = 64 * 1024
# An address of a namespace, the longest that a feed declares, has less than half of it.
ENTITY_CHARS = 200
_PREDEFINED = frozenset({"lt", "gt", "amp", "quot", "apos"})
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# All but the five that XML has itself, of which escaped HTML is full.
_REFERENCE = re.compile(
    r"&(?!(?:lt|gt|amp|quot|apos);)"
    r"(?:#(?:[0-9]{1,9}|[xX][0-9a-fA-F]{1,8});|([A-Za-z_][\w.:-]{0,63});)?"
)
_NUMERIC = re.compile(r"&#(?:[0-9]{1,9}|[xX][0-9a-fA-F]{1,8});")
_OPENING = re.compile(r"<!\[CDATA\[|<!--|<\?")
_CLOSING = {"<![CDATA[": "]]>", "<!--": "-->", "<?": "?>"}
# The beginning of a reference or of an opening at the end of what has come so far.
_UNFINISHED = re.compile(r"(?:&[\w.:#-]{0,65}|<[!?]?[\[\-CDATA]{0,7})\Z")
_BEFORE_ROOT = re.compile(r"[\s\ufeff]++|<\?.*?\?>|<!--.*?-->", re.DOTALL)
_DOCTYPE = re.compile(
    r"""<!DOCTYPE(?:"[^"]*"|'[^']*'|[^\[>"'])*+"""
    r"""(?:\[((?:"[^"]*"|'[^']*'|<!--.*?-->|[^\]"'])*+)\]\s*+)?>""",
    re.DOTALL | re.IGNORECASE,
)
_ENTITY = re.compile(
    r"""<!ENTITY\s+(?:(%)\s*)?([\w.:-]+)\s+(?:(SYSTEM|PUBLIC)\b|"([^"]*)"|'([^']*)')"""
)
_START = re.compile(r"<\?xml\s|<(?:[\w.-]+:)?(?:rss|feed|rdf|opml)[\s>]", re.IGNORECASE)
_PAGE = re.compile(r"<!doctype\s+html|<html[\s>]", re.IGNORECASE)


class EntityError(ValueError):
    """The document declares an entity that is not replaced."""


def mend(pieces: Iterable[str]) -> Iterator[str]:
    """The document as well-formed XML, as far as its ampersands and characters are concerned; in
    pieces, with every line break where it was.

    The declarations before the first element, and words of a failing program before those, are
    left out.

    Raises:
        EntityError: it declares an entity that is external, made of others, or long.
    """
    rest = iter(pieces)
    head = ""
    for piece in rest:
        head += piece
        if len(head) >= PROLOG_CHARS:
            break
    start, declared = _read_prolog(head)
    yield "\n" * head.count("\n", 0, start)
    mender = _Mender(declared)
    yield mender.push(head[start:])
    for piece in rest:
        yield mender.push(piece)
    yield mender.finish()


class _Mender:
    """Remembers between pieces whether it is inside of what must stay as it is."""

    def __init__(self, declared: Mapping[str, str]) -> None:
        self._declared = declared
        self._pending = ""
        self._closing = ""

    def push(self, piece: str) -> str:
        return self._mend(self._pending + _FORBIDDEN.sub("", piece))

    def finish(self) -> str:
        rest, self._pending = self._pending, ""
        return rest if self._closing else _REFERENCE.sub(self._reference, rest)

    def _mend(self, text: str) -> str:
        done: list[str] = []
        at = 0
        while True:
            if self._closing:
                end = text.find(self._closing, at)
                if end < 0:
                    # All but what may be the beginning of the closing mark.
                    keep_from = max(at, len(text) - len(self._closing) + 1)
                    done.append(text[at:keep_from])
                    break
                end += len(self._closing)
                done.append(text[at:end])
                at, self._closing = end, ""
            opening = _OPENING.search(text, at)
            if opening is None:
                unfinished = _UNFINISHED.search(text, max(at, len(text) - 80))
                keep_from = unfinished.start() if unfinished else len(text)
                done.append(_REFERENCE.sub(self._reference, text[at:keep_from]))
                break
            done.append(_REFERENCE.sub(self._reference, text[at : opening.start()]))
            done.append(opening[0])
            at, self._closing = opening.end(), _CLOSING[opening[0]]
        self._pending = text[keep_from:]
        return "".join(done)

    def _reference(self, found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return _numeric(found[0]) if len(found[0]) > 1 else "&amp;"
        known = self._declared.get(name) or entities.html5.get(f"{name};")
        return escape(known) if known else f"&amp;{name};"


def _numeric(reference: str) -> str:
    """The reference, unless XML has no such character. Invisible controls are what HTML takes them
    for: the letters that Windows has in their places."""
    digits = reference[2:-1]
    code = int(digits[1:], 16) if digits[0] in "xX" else int(digits)
    if code >= 0x110000 or _FORBIDDEN.match(chr(code)):
        return "\ufffd"
    return unescape(reference) if 0x80 <= code < 0xA0 else reference


def _read_prolog(head: str) -> tuple[int, dict[str, str]]:
    """Where the document's first element begins, and the entities that were declared."""
    at = 0
    declared: dict[str, str] = {}
    while at < len(head):
        if passed := _BEFORE_ROOT.match(head, at):
            at = passed.end()
        elif head[at : at + 9].upper() == "<!DOCTYPE":
            doctype = _DOCTYPE.match(head, at)
            if doctype is None:
                raise EntityError("a DOCTYPE that does not end")
            declared |= _read_entities(doctype[1] or "")
            at = doctype.end()
        elif (
            (start := _START.search(head, at)) is None
            or start.start() == at
            or _PAGE.search(head, at, start.start())
        ):
            break
        else:
            # Words of the program that should have made the feed, before the feed.
            at = start.start()
    return at, declared


def _read_entities(subset: str) -> dict[str, str]:
    declared: dict[str, str] = {}
    found = list(_ENTITY.finditer(subset))
    if len(found) != subset.count("<!ENTITY"):
        raise EntityError("an entity is declared in a way that is not understood")
    for parameter, name, external, *quoted in (entity.groups() for entity in found):
        if external or parameter:
            raise EntityError(f"the entity {name:.40} is external")
        value = quoted[0] if quoted[0] is not None else quoted[1]
        if len(value) > ENTITY_CHARS:
            raise EntityError(
                f"the entity {name:.40} has {len(value)} characters, at most {ENTITY_CHARS}"
            )
        if name not in _PREDEFINED:
            declared.setdefault(name, _plain(name, value))
    return declared


def _plain(name: str, value: str) -> str:
    """What an entity stands for; only characters may be named in it."""
    for reference in _REFERENCE.finditer(value):
        if reference[1] is not None:
            raise EntityError(f"the entity {name:.40} is made of others")
    # As XML has it: characters where it is declared, all else where it stands.
    characters = _NUMERIC.sub(lambda found: unescape(found[0]), value)
    return _FORBIDDEN.sub("", unescape(characters))
