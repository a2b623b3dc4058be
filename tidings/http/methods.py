"""The methods that every path takes besides its own: HEAD beside GET, and OPTIONS.

HEAD runs what GET runs, and the answer's body is left out at the end, so that its headers are those
of GET by construction; a resource for which that would cost a reader something writes its own
`on_head`. No header renames the method: `X-HTTP-Method-Override` would make a form's POST a DELETE.
Rejected: `on_head = on_get` in each resource, which the next one forgets.

    app.add_route("/channels", with_head(ChannelsResource(channels)))
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import falcon

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


def with_head(resource: Any) -> Any:
    """The resource, which answers HEAD if it answers GET."""
    if hasattr(resource, "on_get") and not hasattr(resource, "on_head"):
        resource.on_head = resource.on_get
    return resource


class AnswerForServer:
    """Falcon middleware: answers `OPTIONS *`, which asks for no path, with the methods of all, and
    has OPTIONS of a path name itself, as a 405 does."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        if req.method == "OPTIONS" and req.path == "*":
            resp.status = int(HTTPStatus.NO_CONTENT)
            resp.set_header("Allow", ", ".join(METHODS))
            resp.complete = True

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _req_succeeded: bool
    ) -> None:
        # A preflight has no Allow any more: CORS made it Access-Control-Allow-Methods.
        allowed = resp.get_header("Allow")
        if req.method == "OPTIONS" and allowed and "OPTIONS" not in allowed:
            resp.set_header("Allow", f"{allowed}, OPTIONS")
