"""nginx as docs/pages.md says it is to be set up, on a folder and a port of the suite's own."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError

from tests.lab.servers import find_program, free_port, spawn, wait_until

PAGE = Path(__file__).parent.parent.parent / "docs" / "pages.md"
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
    for before, after in (
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("    listen [::]:80;\n", ""),
        ("root /srv/tidings/var/site;", f"root {root};"),
    ):
        assert block.count(before) == 1, before
        block = block.replace(before, after)
    return str(block)


@contextmanager
def serve_site(root: Path, folder: Path) -> Iterator[str]:
    """nginx, with its own files in `folder`; gives its address without a last slash."""
    port = free_port()
    configuration = folder / "nginx.conf"
    # As root it would serve as another user, who may not enter the suite's folders.
    user = "user root;" if folder.owner() == "root" else ""
    server = documented_server(root, port)
    configuration.write_text(
        AROUND.format(folder=folder, server=server, user=user, mime_types=MIME_TYPES)
    )
    command = [find_program("nginx"), "-p", str(folder), "-c", str(configuration), "-e", "stderr"]
    subprocess.run([*command, "-q", "-t"], check=True, timeout=10)
    process = spawn(command)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(f"{url}/"), 10, "nginx")
        yield url
    finally:
        # Not SIGKILL: its workers would live on.
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except HTTPError as ex:
        ex.close()
    except URLError:
        return False
    return True
