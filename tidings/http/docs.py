"""A process's routes as data, `openapi.json`, and as a page for people: both made once, from what
the resources say of themselves.

Each process describes its own. Rejected: one page of all; the processes do not import each other,
and one that is upgraded before the other would be described wrongly.

    app.add_route("/openapi.json", OpenApiResource(description))
"""

from __future__ import annotations

from typing import Any

import falcon
import jinja2
import msgspec

from tidings.http.caching import SAME_FOR_ALL
from tidings.http.problems import AWAY, DEFECT, PROBLEMS


class OpenApiResource:
    """`GET` of an OpenAPI document."""

    caching = SAME_FOR_ALL

    def __init__(self, description: dict[str, Any]) -> None:
        self._data = msgspec.json.encode(description)

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = "application/json"
        resp.data = self._data


def render_docs(template: str, description: dict[str, Any], data_path: str) -> bytes:
    """The page for people.

    Args:
        data_path: where the same is served as data.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    kinds = sorted(
        {kind.slug: kind for kind in (*PROBLEMS.values(), AWAY, DEFECT)}.values(),
        key=lambda kind: (kind.status, kind.slug),
    )
    return (
        environment.from_string(template)
        .render(api=description, kinds=kinds, data_path=data_path)
        .encode()
    )
