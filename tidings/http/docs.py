"""A process's routes as data, `openapi.json`, and as a page for people: each made once, from what
the resources say of themselves, for the first who asks: to make them takes longer than to make all
the rest of the app.

Each process describes its own. Rejected: one page of all; the processes do not import each other,
and one that is upgraded before the other would be described wrongly.

    describing = cache(partial(describe, routes, about, version))
    app.add_route("/openapi.json", OpenApiResource(describing))
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import falcon
import jinja2
import msgspec

from tidings.http.caching import SAME_FOR_ALL
from tidings.http.pages import PageResource
from tidings.http.problems import AWAY, DEFECT, PROBLEMS

Describing = Callable[[], dict[str, Any]]


class OpenApiResource:
    """`GET` of an OpenAPI document.

    Args:
        describing: gives the document.
    """

    caching = SAME_FOR_ALL

    def __init__(self, describing: Describing) -> None:
        self._describing = describing

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = "application/json"
        resp.data = self._data

    @cached_property
    def _data(self) -> bytes:
        return msgspec.json.encode(self._describing())


class DocsResource:
    """`GET` of the page for people.

    Args:
        describing: gives the OpenAPI document.
        data_path: where the same is served as data.
    """

    caching = SAME_FOR_ALL

    def __init__(self, template: str, describing: Describing, data_path: str) -> None:
        self._template = template
        self._describing = describing
        self._data_path = data_path

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        self._page.on_get(req, resp)

    @cached_property
    def _page(self) -> PageResource:
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
        )
        kinds = sorted(
            {kind.slug: kind for kind in (*PROBLEMS.values(), AWAY, DEFECT)}.values(),
            key=lambda kind: (kind.status, kind.slug),
        )
        page = environment.from_string(self._template).render(
            api=self._describing(), kinds=kinds, data_path=self._data_path
        )
        return PageResource("docs.html", page.encode())
