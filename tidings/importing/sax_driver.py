"""The XML parser that feedparser uses, told to hand over text in one piece.

Python's own driver calls for every reference and every line of a text; an entry whose HTML is
escaped has hundreds of each, and feedparser handles them one by one. Named as the module that
`xml.sax` loads a driver from. Rejected: wrapping texts in CDATA first, which changes what they say
wherever they hold a CDATA of their own.

    xml.sax.make_parser(["tidings.importing.sax_driver"])
"""

from __future__ import annotations

from xml.sax.expatreader import ExpatParser


class _Parser(ExpatParser):
    def reset(self) -> None:
        super().reset()
        self._parser.buffer_text = True  # type: ignore[attr-defined]


def create_parser() -> ExpatParser:
    """The parser, as `xml.sax` asks a driver for it."""
    return _Parser()
