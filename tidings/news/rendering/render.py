"""Turns articles into the pages that people read, the same wherever they come from: the files of
the static site, and the gateway.

Everything in a template is escaped but an article's body, which was sanitised when it came in.
What a document cannot hold (control characters) is left out. Rejected: templates of the gateway's
own, by which one address would show two pages, one of them while the gateway is away.

    Renderer(Masthead(url="https://news.example")).article(story)  # the whole page, as bytes
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from tidings.news.rendering.characters import address_of, speakable
from tidings.news.rendering.content import Section, Story, Teaser
from tidings.news.rendering.feeds import Feeds, iso
from tidings.news.rendering.masthead import Masthead
from tidings.news.rendering.outline import fit_into_page


class Renderer:
    """Documents of one site.

    Args:
        masthead: what the site says of itself.

    Attributes:
        feeds: makes those for programs.
    """

    def __init__(self, masthead: Masthead) -> None:
        self._masthead = masthead
        self.feeds = Feeds(masthead)
        folder = files("tidings.news.rendering")
        sources = {
            file.name: file.read_text("utf-8")
            for file in folder.iterdir()
            if file.name.endswith((".html", ".py"))
        }
        # In each file rather than beside them: a page needs nothing else to be fetched.
        theme = files("tidings.web").joinpath("theme.css").read_text("utf-8")
        parts = (repr(masthead), theme, *(sources[name] for name in sorted(sources)))
        self._edition = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
        # Compiled on first use: most builds need none of the templates, or two.
        self._environment = jinja2.Environment(
            loader=jinja2.DictLoader(
                {name: text for name, text in sources.items() if name.endswith(".html")}
            ),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "site": masthead,
            "theme": Markup(theme),  # noqa: S704 - our own file
        }
        self._environment.filters |= {
            "day": masthead.name_day,
            "iso": iso,
            "address": address_of,
            "absolute": self._absolute,
        }

    @property
    def edition(self) -> str:
        """Changes whenever the same content would be rendered in another way."""
        return self._edition

    def article(self, story: Story) -> bytes:
        entry = story.teaser.entry
        body = Markup(fit_into_page(story.body))  # noqa: S704 - sanitised when it came in
        return self._page(
            "article.html",
            story=story,
            teaser=story.teaser,
            entry=entry,
            body=body,
            path=entry.path,
        )

    def listing(
        self, section: Section, number: int, has_newer: bool, teasers: Sequence[Teaser]
    ) -> bytes:
        """One of the pages that hold all articles of a channel; page 1 has the oldest."""
        return self._page(
            "channel.html",
            section=section,
            teasers=teasers,
            number=number,
            path=section.page_path(number),
            newer=section.page_path(number + 1) if has_newer else None,
            older=section.page_path(number - 1) if number > 1 else None,
        )

    def front(self, section: Section, last: int, teasers: Sequence[Teaser]) -> bytes:
        """The newest articles of a channel, and the way to all of them."""
        return self._page(
            "channel.html",
            section=section,
            teasers=teasers,
            number=0,
            path=section.path,
            newer=None,
            older=section.page_path(last),
        )

    def home(self, sections: Sequence[Section], teasers: Sequence[Teaser]) -> bytes:
        return self._page("home.html", sections=sections, teasers=teasers)

    def not_found(self, _: Sequence[Teaser]) -> bytes:
        return self._page("404.html")

    def _absolute(self, address: str) -> str:
        return self._masthead.url + address if address.startswith("/") else address

    def _page(self, name: str, **values: Any) -> bytes:
        return speakable(self._environment.get_template(name).render(**values)).encode()
