"""A small web server that answers as a test says, and questions about what an import left in the
database."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from tidings.importing.addresses import FetchRules
from tidings.news.tables import article, article_count, author, channel

# Servers of tests are on this machine.
ANYWHERE = FetchRules(private_addresses=True)
Answer = Callable[[BaseHTTPRequestHandler], None]


class Web:
    """Answers of a web server by path; what has none is 404."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def serve(
        self, path: str, body: bytes | str, content_type: str = "text/plain", **headers: str
    ) -> str:
        """Answer `path` with a body; returns its URL."""
        data = body.encode() if isinstance(body, str) else body

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            usual = {"Content_Type": content_type, "Content_Length": str(len(data))}
            for name, value in (usual | headers).items():
                request.send_header(name.replace("_", "-"), value)
            request.end_headers()
            request.wfile.write(data)

        self.answers[path] = answer
        return self.url(path)

    def redirect(self, path: str, to: str, status: int = 302) -> str:
        """Answer `path` with a redirect; returns its URL."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            request.send_header("Location", to)
            request.send_header("Content-Length", "0")
            request.end_headers()

        self.answers[path] = answer
        return self.url(path)


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server of one's own."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            site.asked.append(self.path)
            if self.path in site.answers:
                site.answers[self.path](self)
            else:
                self.send_error(404)

        def log_message(self, *_args: object) -> None:
            """The test's own assertions say what happened."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_args: object) -> None:
            """Clients that go away early are what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    site = Web(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


class Stored:
    """What is in the database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def articles(self) -> dict[str, Any]:
        """Source id → row, with the channel's slug and the author's name."""
        query = (
            select(article, channel.c.slug, author.c.name)
            .join(channel, channel.c.id == article.c.channel_id)
            .outerjoin(author, author.c.id == article.c.author_id)
        )
        with self.engine.connect() as conn:
            return {row.source_id: row for row in conn.execute(query)}

    def count(self, table: Any = article) -> int:
        with self.engine.connect() as conn:
            return int(conn.scalar(select(func.count()).select_from(table)) or 0)

    def is_whole(self) -> bool:
        """Every article has its counts, and no source id is there twice."""
        with self.engine.connect() as conn:
            ids = set(conn.scalars(select(article.c.id)))
            sources = list(conn.scalars(select(article.c.source_id)))
            return ids == set(conn.scalars(select(article_count.c.article_id))) and len(
                set(sources)
            ) == len(sources)


@pytest.fixture
def stored(engine: Engine) -> Stored:
    """Questions to the database under test."""
    return Stored(engine)


def make_row(number: int, **values: Any) -> dict[str, Any]:
    """A row that is fine."""
    plain = {
        "id": f"n{number}",
        "title": f"Title {number}",
        "body": f"Body *{number}*.",
        "channel": "news",
    }
    return plain | {"author": f"Author {number % 3}", "published": "2026-01-31T08:30:00Z"} | values


def write_jsonl(path: Path, rows: Sequence[dict[str, Any] | str]) -> Path:
    """Rows as a JSONL file; a string is a line as it stands."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines))
    return path
