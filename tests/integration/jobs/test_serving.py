"""nginx sends the static site while it is being rebuilt under load: no half page, no 404, no dead link."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import URLError

from sqlalchemy import Engine, insert, update

from jobs.pages.build import build_site
from jobs.pages.render import Renderer
from tests.servers import find_program, free_port, spawn, wait_until
from tidings.store.engine import make_engine, transaction
from tidings.store.tables import article, channel

CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; types {{ text/html html; application/atom+xml atom; application/rss+xml rss; text/xml xml; }}
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; root {root}; location ~ /\\. {{ return 404; }} }}
}}
"""
EDITIONS = 25
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@contextmanager
def nginx(root: Path, folder: Path) -> Iterator[str]:
    port = free_port()
    (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, root=root, port=port))
    process = spawn([find_program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"])
    url = f"http://127.0.0.1:{port}/"

    def answers() -> bool:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except URLError:
            return False
        return True

    try:
        wait_until(answers, 10, "nginx")
        yield url
    finally:
        process.kill()
        process.wait()


def edit(engine: Engine, number: int) -> None:
    """A new edition: every article says its number twice, at its beginning and at its end."""
    body = f"<p>edition {number}</p>" + "<p>filler</p>" * 3000 + f"<p>edition {number} ends</p>"
    with transaction(engine) as conn:
        conn.execute(update(article).values(body=body, updated_at=NOW + timedelta(seconds=number)))


def is_whole(page: bytes) -> bool:
    number = page.split(b"<p>edition ")[1].split(b"<")[0]
    return b"edition " + number + b" ends" in page and page.endswith(b"</html>")


def test_no_reader_meets_half_a_page_or_none(sqlite_url: str, make_settings: object, tmp_path: Path) -> None:
    engine = make_engine(make_settings(database_url=sqlite_url))  # type: ignore[operator]
    with transaction(engine) as conn:
        conn.execute(insert(channel).values(id=1, slug="c", name="C"))
        row = {"channel_id": 1, "title": "t", "summary": "s", "body": "", "status": "published"}
        for n in range(1, 31):
            moment = NOW - timedelta(hours=n)
            conn.execute(insert(article).values(id=n, source_id=str(n), published_at=moment, updated_at=moment, **row))
    root = tmp_path / "site"
    edit(engine, 0)
    build_site(engine, root, Renderer("https://news.example"), now=NOW)
    over = threading.Event()
    troubles: list[str] = []
    editions: set[bytes] = set()

    def read(url: str, first: int) -> None:
        n = first
        while not over.is_set():
            n = n % 30 + 1
            try:
                with urllib.request.urlopen(f"{url}articles/{n}.html", timeout=5) as answer:
                    page = answer.read()
                with urllib.request.urlopen(f"{url}channels/c/", timeout=5) as answer:
                    assert answer.read().endswith(b"</html>")
            except (URLError, AssertionError) as ex:
                troubles.append(repr(ex))
                continue
            editions.add(page.split(b"<p>edition ")[1].split(b"<")[0])
            if not is_whole(page):
                troubles.append(f"half a page of {n}")

    with nginx(root, tmp_path) as url:
        readers = [threading.Thread(target=read, args=(url, n * 7)) for n in range(4)]
        for reader in readers:
            reader.start()
        for number in range(1, EDITIONS):
            edit(engine, number)
            build_site(engine, root, Renderer("https://news.example"), now=NOW)
        over.set()
        for reader in readers:
            reader.join()
    engine.dispose()
    assert troubles == []
    assert len(editions) > 5, "the readers were to see the site change"
