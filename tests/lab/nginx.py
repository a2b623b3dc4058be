"""nginx as docs/pages.md and deploy/nginx.conf set it up, in a folder and on ports of the suite's
own."""

from __future__ import annotations

import http.client
import re
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError

from tests.lab.authority import Authority
from tests.lab.servers import find_program, free_port, spawn, wait_until

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "pages.md"
DEPLOYED = ROOT / "deploy" / "nginx.conf"
NAME = "news.example"
MIME_TYPES = "/etc/nginx/mime.types"
AROUND = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; {user}
events {{ worker_connections 512; }}
http {{
  include {mime_types}; default_type application/octet-stream;
    access_log off; sendfile on; tcp_nopush on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{server}
}}
"""


def documented_server(root: Path, port: int) -> str:
    """The server block of the documentation with its folder and its port replaced, and nothing
    else."""
    (block,) = re.findall(r"^```nginx\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return _replace(
        str(block),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("    listen [::]:80;\n", ""),
        ("root /srv/tidings/var/site;", f"root {root};"),
        ("root /srv/tidings/var/images;", f"root {root.parent / 'images'};"),
    )


@contextmanager
def serve_site(root: Path, folder: Path) -> Iterator[str]:
    """nginx, with its own files in `folder`; gives its address without a last slash."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with _running(folder, documented_server(root, port)):
        wait_until(lambda: _answers(f"{url}/"), 30, "nginx")
        yield url


@dataclass(frozen=True, slots=True)
class Front:
    """nginx in front of a gateway.

    Attributes:
        tls_of_threads: for a client that reads in one thread and writes in another. In TLS 1.3 the
            server goes on about the session after the handshake, and OpenSSL, which is no two
            threads' at once, never sends what is written while the other thread reads that.
    """

    port: int
    plain_port: int
    tls: ssl.SSLContext
    tls_of_threads: ssl.SSLContext

    def connect(self, source: str = "127.0.0.1") -> http.client.HTTPSConnection:
        """A connection of a client that comes from `source`."""
        return http.client.HTTPSConnection(
            "127.0.0.1",
            self.port,
            timeout=60,
            source_address=(source, 0),
            context=self.tls,
        )


@contextmanager
def serve_gateway(
    upstream: str,
    site: Path,
    folder: Path,
    *,
    chat: str = "127.0.0.1:8001",
    per_second: int = 50,
) -> Iterator[Front]:
    """nginx as an operator copies it, in front of a gateway.

    A client may name itself in X-Test-Address.

    Args:
        upstream: the gateway's address, or `unix:/path`.
        site: the static pages; pictures are beside it, as in VAR_DIR.
        folder: for its own files.
        chat: the address of the chat.
        per_second: requests of one address; few let a slow machine come with too many.
    """
    files = Authority(folder).sign(NAME)
    port, plain_port = free_port(), free_port()
    deployed = _replace(
        DEPLOYED.read_text(),
        ("    server 127.0.0.1:8000;", f"    server {upstream};"),
        ("    server 127.0.0.1:8001;", f"    server {chat};"),
        ("rate=50r/s", f"rate={per_second}r/s"),
        ("listen 80;", f"listen 127.0.0.1:{plain_port};"),
        ("    listen [::]:80;\n", ""),
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{port} ssl http2;"),
        ("    listen [::]:443 ssl http2;\n", ""),
        ("/etc/ssl/tidings/fullchain.pem", str(files.cert)),
        ("/etc/ssl/tidings/privkey.pem", str(files.key)),
        ("root /srv/tidings/var/site;", f"root {site};"),
        ("root /srv/tidings/var/images;", f"root {site.parent / 'images'};"),
    )
    told = "set_real_ip_from 127.0.0.1; real_ip_header X-Test-Address;\n"
    with _running(folder, told + deployed):
        tls, of_threads = (ssl.create_default_context(cafile=str(files.ca)) for _ in range(2))
        of_threads.maximum_version = ssl.TLSVersion.TLSv1_2
        front = Front(port, plain_port, tls, of_threads)
        wait_until(lambda: _answers(f"http://127.0.0.1:{plain_port}/"), 30, "nginx")
        yield front


def _replace(text: str, *replacements: tuple[str, str]) -> str:
    for before, after in replacements:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


@contextmanager
def _running(folder: Path, server: str) -> Iterator[None]:
    configuration = folder / "nginx.conf"
    # As root it would serve as another user, who may not enter the suite's folders.
    user = "user root;" if folder.owner() == "root" else ""
    configuration.write_text(
        AROUND.format(folder=folder, server=server, user=user, mime_types=MIME_TYPES)
    )
    command = [find_program("nginx"), "-p", str(folder), "-c", str(configuration), "-e", "stderr"]
    subprocess.run([*command, "-q", "-t"], check=True, timeout=60)
    process = spawn(command)
    try:
        yield
    finally:
        # Not SIGKILL: its workers would live on.
        process.terminate()
        process.wait(60)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """A redirection is an answer."""


def _answers(url: str) -> bool:
    try:
        urllib.request.build_opener(_Stay).open(url, timeout=10).close()
    except HTTPError as ex:
        ex.close()
    except OSError:
        return False
    return True
