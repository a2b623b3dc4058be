"""Pages and their files, such as those under `/static/` and `/docs`: read once, served from memory.

The files are part of the package and name no other host, so the content policy can forbid
everything else. Behind a proxy that serves `/static/` itself nothing changes.

    app.add_route("/static/reader.js", PageResource("reader.js", read_pages()["reader.js"]))
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import PurePosixPath

import falcon

from tidings.http.caching import SAME_FOR_ALL

CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' https: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class PageResource:
    """One page or file."""

    caching = SAME_FOR_ALL

    def __init__(self, name: str, content: bytes) -> None:
        self._media_type = MEDIA_TYPES[PurePosixPath(name).suffix]
        self._content = content

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.set_header("Content-Security-Policy", CONTENT_POLICY)
        resp.content_type = self._media_type
        resp.data = self._content


def read_pages() -> Mapping[str, bytes]:
    """File name → content of everything under `tidings/web` that is served as it is."""
    return {
        entry.name: entry.read_bytes()
        for folder in ("tidings.web", "tidings.web.reader", "tidings.web.docs")
        for entry in files(folder).iterdir()
        if PurePosixPath(entry.name).suffix in MEDIA_TYPES
    }
