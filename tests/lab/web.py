"""A small web server that answers as a test says.

with serve_web() as web:
    web.serve("/feed", "<rss/>", "application/rss+xml")
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


class Web:
    """Answers of a web server by path; what has none is 404."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []

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


@contextmanager
def serve_web(bind: str = "127.0.0.1") -> Iterator[Web]:
    """A web server until the block ends; bound to 0.0.0.0 it is every address of this machine."""

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
        # Clients that come at once are not turned away while this machine does something else.
        request_queue_size = 128

        def handle_error(self, *_args: object) -> None:
            """Clients that go away early are what some tests are about."""

    server = Server((bind, 0), Handler)
    site = Web(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
