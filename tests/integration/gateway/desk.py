"""Editors and authors at a gateway's door, each with a key of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from falcon import testing

from tests.unit.gateway.doors import Door
from tidings.readers.keys import Role

TEXT = {"title": "High tide", "body": "The harbour is *full*.", "channel_id": 1}


class Member:
    """One of the staff.

    Attributes:
        headers: of the key.
    """

    def __init__(self, door: Door, role: Role, name: str = "") -> None:
        self._client = door.client
        self.headers = door.make_key(role, name)

    def send(
        self, method: str, path: str, body: Any = None, **headers: str | None
    ) -> testing.Result:
        """Headers are named as in `If_Match`; one that is None is not sent."""
        named = {name.replace("_", "-"): value for name, value in headers.items() if value}
        options = {} if body is None else {"json": body}
        return self._client.simulate_request(method, path, headers=self.headers | named, **options)

    def send_raw(self, path: str, body: bytes) -> testing.Result:
        """A body that is no JSON."""
        return self._client.simulate_post(path, headers=self.headers, body=body)

    def get(self, path: str, **query: Any) -> Any:
        """What a good answer says."""
        answer = self._client.simulate_get(path, headers=self.headers, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json

    def create(self, key: str = "a-key", **fields: Any) -> Any:
        """The record of a new article."""
        answer = self.send("POST", "/articles", TEXT | fields, Idempotency_Key=key)
        assert answer.status_code == 201, answer.text
        return answer.json

    def tag(self, article_id: int) -> str:
        """What a write has to bring back."""
        answer = self.send("GET", f"/operator/articles/{article_id}")
        assert answer.status_code == 200, answer.text
        return answer.headers["ETag"]

    def do(
        self, article_id: int, verb: str, body: Mapping[str, Any] | None = None, seen: str = "*"
    ) -> testing.Result:
        """A verb on the version that was seen."""
        return self.send("POST", f"/articles/{article_id}/{verb}", body, If_Match=seen)

    def change(self, article_id: int, seen: str | None = "*", **fields: Any) -> testing.Result:
        return self.send("PATCH", f"/articles/{article_id}", fields, If_Match=seen)
