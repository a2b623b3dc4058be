"""The chat's HTTP in one piece behind Falcon's test client, and readers who call it. Messages are
stored as a node stores them, one at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from falcon import testing
from redis import Redis
from sqlalchemy import Engine

from services.chat.rest.app import create_rest
from tests.unit.gateway.doors import KEYS, UNLIMITED, WINDOW_S
from tidings.http.cursors import Cursors
from tidings.http.limits import LimitClass, Quotas
from tidings.http.origins import Origins
from tidings.http.reader_id import COOKIE, ReaderSigner
from tidings.readers.checking import KeyCheck
from tidings.readers.keys import Role, add_key
from tidings.store.engine import transaction
from tidings.store.transacting import transact
from tidings.store.windows import SlidingWindows
from tidings.talk.sending import Refused, Send, Sent, send_many

SITE = "https://news.example"
PARTNER = "https://partner.example"


class NoEvents:
    """In the place of the stream of events."""

    needs_reader = True
    mints_reader = False
    limit_class = LimitClass.CHAT_READ

    def on_get(self, _req: Any, resp: Any) -> None:
        resp.content_type = "text/event-stream"


@dataclass
class Reader:
    """One who calls: each request carries who it is."""

    client: testing.TestClient
    reader_id: int
    headers: Mapping[str, str]

    def ask(self, method: str, path: str, wanted: Any = None, **options: Any) -> testing.Result:
        """`wanted` travels as JSON."""
        headers = {**self.headers, **options.pop("headers", {})}
        if wanted is not None:
            options["json"] = wanted
        return self.client.simulate_request(method, path, headers=headers, **options)

    def get(self, path: str, **options: Any) -> Any:
        """The JSON of a good answer."""
        answer = self.ask("GET", path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json

    def send(self, conversation_id: int, body: str, cid: str = "") -> int:
        """The seq of a message that was written."""
        wanted = {"cid": cid or f"{body}-{self.reader_id}", "body": body}
        answer = self.ask("POST", f"/conversations/{conversation_id}/messages", wanted)
        assert answer.status_code == 201, answer.text
        seq: int = answer.json["seq"]
        return seq

    def start_direct(self, other: Reader) -> int:
        return self.start(kind="direct", reader_id=other.reader_id)

    def start_group(self, *others: Reader, title: str = "Friday") -> int:
        ids = [other.reader_id for other in others]
        return self.start(kind="group", title=title, reader_ids=ids)

    def start(self, **wanted: Any) -> int:
        answer = self.ask("POST", "/conversations", wanted)
        assert answer.status_code == 201, answer.text
        assert answer.headers["Location"] == f"/conversations/{answer.json['conversation_id']}"
        conversation_id: int = answer.json["conversation_id"]
        return conversation_id


@dataclass
class ChatRest:
    """The app and all that stands around it.

    Attributes:
        present: the readers who are connected.
    """

    client: testing.TestClient
    engine: Engine
    signer: ReaderSigner
    present: set[int] = field(default_factory=set)

    def visitor(self, by: str = "header") -> Reader:
        """A new anonymous reader, told by X-Reader or by cookie."""
        signed = self.signer.sign(self.signer.new_id())
        headers = {"X-Reader": signed} if by == "header" else {"Cookie": f"{COOKIE}={signed}"}
        return Reader(self.client, int(signed.partition(".")[0]), headers)

    def program(self, role: Role = Role.READER, name: str = "") -> Reader:
        """A new key."""
        with transaction(self.engine) as conn:
            made = add_key(conn, name or f"key-{role.value}", role)
        bearer = {"Authorization": f"Bearer {made.secret}"}
        return Reader(self.client, made.key.reader_id, bearer)

    def caller(self, kind: str, name: str = "") -> Reader:
        """A new caller: by `cookie`, by `header`, or with a `key`."""
        return self.program(name=name) if kind == "key" else self.visitor(kind)


def make_chat_rest(
    engine: Engine, redis: Redis, *, quotas: Quotas = UNLIMITED, **options: Any
) -> ChatRest:
    """The chat's HTTP on this database and this Redis."""
    signer = ReaderSigner(KEYS)
    present: set[int] = set()

    def send(wanted: Send) -> Sent | Refused:
        return transact(engine, lambda conn: send_many(conn, [wanted]))[0]

    def find_present(ids: Collection[int]) -> Collection[int]:
        return present & set(ids)

    collaborators: dict[str, Any] = {
        "engine": engine,
        "send": send,
        "present": find_present,
        "events": NoEvents(),
        "signer": signer,
        "keys": KeyCheck(engine),
        "cursors": Cursors(KEYS),
        "windows": SlidingWindows(redis, WINDOW_S),
        "quotas": quotas,
        "origins": Origins(SITE, (SITE, PARTNER)),
        "deadline_ms": 20_000,
        "is_ready": lambda: True,
    }
    app = create_rest(**collaborators | options)
    return ChatRest(testing.TestClient(app), engine, signer, present)
