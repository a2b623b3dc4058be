"""Downloads by HTTPS: who is believed, and what is cut off before a word was said."""

from __future__ import annotations

import io
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.integration.importing.conftest import ANYWHERE
from tests.lab.authority import Authority
from tidings.importing.fetching import FetchError, fetch


@contextmanager
def serve(folder: Path, name: str) -> Iterator[tuple[int, Path]]:
    """A server of one answer; its port, and the authority that vouches for it."""
    files = Authority(folder).sign(name)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_args: object) -> None:
            """The test's own assertions say what happened."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_args: object) -> None:
            """Clients that do not believe it go away."""

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.cert, files.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port, files.ca
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def download(port: int, deadline_s: float = 20) -> bytes:
    target = io.BytesIO()
    url = f"https://localhost:{port}/"
    fetch(url, target, max_bytes=100, deadline_s=deadline_s, rules=ANYWHERE)
    return target.getvalue()


def test_a_server_is_believed_by_its_certificate_and_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to an address that was judged; the certificate is still the name's."""
    with serve(tmp_path, "localhost") as (port, ca):
        with pytest.raises(FetchError, match="certificate"):
            download(port)
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
        assert download(port) == b"hello"
    with serve(tmp_path, "news.example") as (port, ca):
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
        with pytest.raises(FetchError, match="certificate"):
            download(port)


def test_a_server_that_never_shakes_hands_is_cut_off() -> None:
    """The watch begins before encryption takes the connection over."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(FetchError, match=r"took longer than 0\.3 s"),
    ):
        download(silent.getsockname()[1], deadline_s=0.3)


def test_a_server_that_speaks_plainly_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def greet() -> None:
            conn, _ = plain.accept()
            with conn:
                conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                conn.recv(1000)

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(FetchError):
            download(plain.getsockname()[1])
        thread.join(10)
