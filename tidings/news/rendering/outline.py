"""Fits a body into the page around it: its headings below the article's own, and every picture with
a text.

A reader who listens goes from heading to heading, by levels; a body comes with
the levels that its author liked. Done when a page is made and not when the article came in, because
only the page knows what is above. It reads sanitised HTML alone, where headings have no attributes
and no attribute holds a bare ">".

    fit_into_page("<h1>Tides</h1>")  # "<h2>Tides</h2>"
"""

from __future__ import annotations

import re

PAGE_LEVEL = 1
_DEEPEST = 6
_HEADING_OR_IMG = re.compile(r"<(/?)h([1-6])>|<img (?![^>]*\balt=)")


def fit_into_page(body: str) -> str:
    """The body with its headings renumbered without gaps from the one below the page's, and `alt`
    on every `img`."""
    above: list[int] = []
    opened: list[int] = []

    def fit(found: re.Match[str]) -> str:
        closes, level = found.groups()
        if level is None:
            return '<img alt="" '
        if closes:
            return f"</h{opened.pop() if opened else level}>"
        while above and above[-1] >= int(level):
            above.pop()
        above.append(int(level))
        opened.append(min(PAGE_LEVEL + len(above), _DEEPEST))
        return f"<h{opened[-1]}>"

    return _HEADING_OR_IMG.sub(fit, body)
