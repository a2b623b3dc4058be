"""The site for people, and for the programs that read feeds: pages under real addresses, feeds,
sitemaps.

An article's page is made from what the API answers, so it is there as soon as the article is and
gone as soon as it is taken down. Everything else is a file that the jobs daemon of this machine
wrote, and is read anew each time: a page of a list may be some seconds old, and costs no query.
`/articles/42` and `/channels/3` are JSON for a program and a page for a client that prefers one.
Rejected: a script that fetches the JSON; a search engine, a reader on an old phone and a messenger
that shows a preview run none.

    curl -H 'Accept: text/html' http://127.0.0.1:8000/articles/12
"""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path, PurePosixPath

import falcon

from tidings.http.caching import BY_TYPE, SAME_FOR_ALL
from tidings.news.articles import ArticleNotFoundError, Articles
from tidings.news.channels import ChannelNotFoundError, Channels
from tidings.news.rendering.content import story_of
from tidings.news.rendering.masthead import Masthead
from tidings.news.rendering.render import Renderer

# Styles stand in the page itself; nothing in it runs.
CONTENT_POLICY = (
    "default-src 'none'; img-src 'self' https: data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".atom": "application/atom+xml; charset=utf-8",
    ".rss": "application/rss+xml; charset=utf-8",
    ".xml": "text/xml; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".ico": "image/vnd.microsoft.icon",
    ".png": "image/png",
}
JSON = "application/json"
PAGE = "text/html"
_FOR_BOTH = re.compile(r"/(?:articles/[0-9]+|channels/[^/.]+)")
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


class Site:
    """The pages of this site.

    Args:
        masthead: what the site says of itself.
        folder: where the jobs daemon writes pages.
    """

    def __init__(self, masthead: Masthead, folder: Path) -> None:
        self.masthead = masthead
        self.renderer = Renderer(masthead)
        self._folder = folder

    def answer_file(self, resp: falcon.Response, path: str) -> None:
        """The file of this path, or that there is none."""
        try:
            content = (self._folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            self.answer_nothing(resp)
        else:
            _answer(resp, PurePosixPath(path).suffix, content)

    def answer_nothing(self, resp: falcon.Response) -> None:
        """A page that says that there is none."""
        resp.status = int(HTTPStatus.NOT_FOUND)
        _answer(resp, ".html", self.renderer.not_found(()))


def _answer(resp: falcon.Response, suffix: str, content: bytes) -> None:
    resp.content_type = MEDIA_TYPES[suffix]
    resp.set_header("Content-Security-Policy", CONTENT_POLICY)
    resp.data = content


class PreferPages:
    """Falcon middleware: sends a client that prefers a page to the page of the same thing. One that
    takes anything is a program."""

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        is_for_both = req.method in ("GET", "HEAD") and _FOR_BOTH.fullmatch(req.path)
        if is_for_both and req.client_prefers((JSON, PAGE)) == PAGE:
            req.path += ".html"


class FileResource:
    """`GET` of a file.

    Args:
        path: below the folder, with the numbers of the route in braces.
    """

    caching = SAME_FOR_ALL

    def __init__(self, site: Site, path: str) -> None:
        self._site = site
        self._path = path

    def on_get(self, _req: falcon.Request, resp: falcon.Response, **numbers: str) -> None:
        if all(map(_NUMBER.fullmatch, numbers.values())):
            self._site.answer_file(resp, self._path.format(**numbers))
        else:
            self._site.answer_nothing(resp)


class ArticlePageResource:
    """`GET /articles/{article_id}.html`: an article for people."""

    caching = BY_TYPE

    def __init__(self, site: Site, articles: Articles, channels: Channels) -> None:
        self._site = site
        self._articles = articles
        self._channels = channels

    def on_get(self, _req: falcon.Request, resp: falcon.Response, article_id: str) -> None:
        try:
            if not _NUMBER.fullmatch(article_id):
                raise ArticleNotFoundError(0)
            whole = self._articles.whole(int(article_id))
            channel = self._channels.channel(whole.channel_id)
        except (ArticleNotFoundError, ChannelNotFoundError):
            self._site.answer_nothing(resp)
        else:
            _answer(resp, ".html", self._site.renderer.article(story_of(whole, channel)))


class ChannelPageResource:
    """`GET /channels/{channel_id}.html`: a channel for people. A channel's slug, by which earlier
    releases named its page, leads to its number."""

    caching = BY_TYPE

    def __init__(self, site: Site, channels: Channels, suffix: str = "") -> None:
        self._site = site
        self._channels = channels
        self._suffix = suffix

    def on_get(self, _req: falcon.Request, resp: falcon.Response, channel_id: str) -> None:
        if not self._suffix and _NUMBER.fullmatch(channel_id):
            self._site.answer_file(resp, f"channels/{channel_id}.html")
            return
        for known in self._channels.channels():
            if known.slug == channel_id:
                resp.status = int(HTTPStatus.PERMANENT_REDIRECT)
                resp.location = f"/channels/{known.channel_id}{self._suffix}"
                return
        self._site.answer_nothing(resp)


def site_routes(site: Site, articles: Articles, channels: Channels) -> dict[str, object]:
    """Every address of the site that is none of the API's."""
    files = {
        "/index.html": "index.html",
        "/feed.atom": "feed.atom",
        "/feed.rss": "feed.rss",
        "/robots.txt": "robots.txt",
        "/favicon.ico": "favicon.ico",
        "/logo.png": "logo.png",
        "/sitemap.xml": "sitemap.xml",
        "/sitemap-channels.xml": "sitemap-channels.xml",
        "/sitemap-{part}.xml": "sitemap-{part}.xml",
        "/channels/{channel_id}.atom": "channels/{channel_id}.atom",
        "/channels/{channel_id}.rss": "channels/{channel_id}.rss",
    }
    page = "/channels/{channel_id}/page-{number}"
    return {
        **{route: FileResource(site, path) for route, path in files.items()},
        page: FileResource(site, page.removeprefix("/") + ".html"),
        "/articles/{article_id}.html": ArticlePageResource(site, articles, channels),
        "/channels/{channel_id}.html": ChannelPageResource(site, channels),
        "/channels/{channel_id}/feed.atom": ChannelPageResource(site, channels, ".atom"),
    }
