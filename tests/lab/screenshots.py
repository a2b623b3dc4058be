"""Pictures of the site as people see it: front page, article, channel and an editor's preview, wide
and narrow, light and dark.

Checks find what is absent or wrong; whether a page is a good page is seen by looking. The site is
an example of its own on free ports, so that the pictures show the same from one day to the next.
Rejected: comparing them with pictures of before; every font and browser draws another pixel.

    python -m tests.lab.screenshots [FOLDER]     by default var/screenshots
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from tests.lab.browser import Browser, open_browser
from tests.lab.servers import start_redis, wait_until
from tests.lab.sites import TIDINGS, Site, start_site

FOLDER = Path("var/screenshots")
SITE_TIMEOUT_S = 180
# The reader's page has an empty article until its feed is there, and loads pictures as they are
# scrolled to.
TOLD = (
    "[...document.querySelectorAll('article, .teasers li')].some((each) => each.innerText.trim())"
)
DRAWN = """[...document.images].every(
  (image) => image.complete || image.getBoundingClientRect().top > window.innerHeight)"""
TEXT = """# High tide at noon

The harbour is *full*, and the [tide table](https://tides.example/) says until when.

> Boats that draw more than two metres may leave until half past one.

- no swimming
- no fires
"""


class View(NamedTuple):
    """How large the window is, and whether its visitor prefers dark pages."""

    name: str
    width: int
    height: int
    dark: bool = False


VIEWS = (
    View("wide", 1280, 900),
    View("dark", 1280, 900, dark=True),
    View("narrow", 390, 844),
)


def addresses(site: Site) -> dict[str, str]:
    """What is looked at: the name of its picture → its address."""
    newest = json.loads(_type(site, "articles", "list", "--limit", "1", "--json"))
    channels = _type(site, "channels", "list", "--json").splitlines()
    channel = json.loads(channels[0])
    return {
        "front": f"{site.url}/",
        "article": f"{site.url}/articles/{newest['article_id']}",
        "channel": f"{site.url}/channels/{channel['channel_id']}",
        "preview": _preview(site),
    }


def _preview(site: Site) -> str:
    """The address of what an editor is shown of a text before it is stored."""
    written = json.loads(_type(site, "articles", "preview", "-", "--json", typed=TEXT))
    page = f"<article><h1>{written['title']}</h1>{written['body']}</article>"
    return f"data:text/html;charset=utf-8,{quote(page)}"


def take_pictures(browser: Browser, pages: dict[str, str], folder: Path) -> Iterator[Path]:
    """A picture of each page in each view, once its pictures are there."""
    for view in VIEWS:
        for name, address in pages.items():
            with browser.page(width=view.width, height=view.height, dark=view.dark) as page:
                page.go(address)
                page.wait_for(TOLD, "an article")
                page.wait_for(DRAWN, "its pictures")
                path = folder / f"{name}-{view.name}.png"
                page.take_picture(path)
                yield path


def _type(site: Site, *words: str, typed: str = "") -> str:
    return subprocess.run(
        [TIDINGS, *words],
        env=dict(site.environment),
        input=typed,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def main() -> None:
    """Start an example, look at it, and say where the pictures are."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-")))
        redis = stack.enter_context(start_redis())
        site = stack.enter_context(start_site(place, redis_url=redis.url))
        browser = stack.enter_context(open_browser())
        site.wait_until_ready()
        built = site.settings.site.var_dir / "site" / "index.html"
        wait_until(built.exists, SITE_TIMEOUT_S, "a static site")
        for path in take_pictures(browser, addresses(site), folder):
            print(path)
        site.stop()


if __name__ == "__main__":
    main()
