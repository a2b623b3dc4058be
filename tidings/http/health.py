"""`/health/…`: about this process alone, so that one store's trouble does not take every gateway
out of rotation.

    app.add_route("/health/ready", HealthResource("May it be sent requests?", is_ready))
"""

from __future__ import annotations

from collections.abc import Callable

import falcon
import msgspec

from tidings.http.bodies import answer_json
from tidings.http.errors import NotReadyError
from tidings.http.openapi import Operation


class Health(msgspec.Struct, frozen=True):
    """`ok`; otherwise the answer is a problem."""

    status: str


class HealthResource:
    """`GET /health/live`: should it go on running? `GET /health/ready`: may it be sent requests?"""

    def __init__(self, summary: str, probe: Callable[[], bool]) -> None:
        self.operations = {"get": Operation(summary, answers=Health)}
        self._probe = probe

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        if not self._probe():
            raise NotReadyError("the process may not be sent requests just now")
        answer_json(resp, Health("ok"))
