"""A small newspaper and its static site: what to do to it, and what to look at afterwards."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, insert, update

from jobs.pages.build import Built, build_site
from tests.lab.site_checks import file_of, links_of, parse_page
from tidings.news.rendering.masthead import Masthead
from tidings.news.rendering.render import Renderer
from tidings.news.tables import article, author, channel
from tidings.store.engine import transaction

REPOSITORY = Path(__file__).parents[3]
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SITE = "https://news.example"
NASTY = 'Fish & "chips" <script>alert(1)</script> \x0b ümläut \U0001f41f'
BUILD = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from jobs.pages.build import build_site
from tidings.news.rendering.masthead import Masthead
from tidings.news.rendering.render import Renderer
from tidings.process.settings import read_settings
from tidings.store.engine import make_engine
url, root, largest_file = sys.argv[1:]
if largest_file != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest_file), int(largest_file)))
engine = make_engine(read_settings(None, database_url=url).database)
now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
build_site(engine, Path(root), Renderer(Masthead("https://news.example")), now=now)
"""


class Paper:
    """A small newspaper and its site."""

    def __init__(self, engine: Engine, root: Path) -> None:
        self.engine = engine
        self.root = root
        with transaction(engine) as conn:
            conn.execute(
                insert(channel), [{"id": n, "slug": f"c{n}", "name": f"C&{n}"} for n in (1, 2, 3)]
            )
            conn.execute(insert(author).values(id=1, name="A. <Writer>"))
        self.add(*range(1, 96))

    def add(self, *ids: int, **values: Any) -> None:
        with transaction(self.engine) as conn:
            for n in ids:
                moment = NOW - timedelta(minutes=1000 - n)
                row = {
                    "id": n,
                    "source_id": str(n),
                    "channel_id": n % 2 + 1,
                    "author_id": 1 if n % 3 else None,
                    "title": f"{NASTY} {n}",
                    "summary": f"{NASTY} {n}",
                    "body": f"<p>Body of {n} with <a href='https://x.example/?a=1&amp;b=2'>a "
                    "link</a></p>",
                    "cover": "https://x.example/c.jpg?a=1&b=2" if n % 4 == 0 else None,
                    "url": f"https://x.example/{n}",
                    "status": "published",
                    "published_at": moment,
                    "updated_at": moment,
                    **values,
                }
                conn.execute(insert(article).values(row))

    def change(self, id_: int, **values: Any) -> None:
        with transaction(self.engine) as conn:
            conn.execute(update(article).where(article.c.id == id_).values(values))

    def build(self, **options: Any) -> Built:
        return build_site(self.engine, self.root, Renderer(Masthead(SITE)), now=NOW, **options)

    def build_aside(self, largest_file: int = 0) -> subprocess.Popen[str]:
        """The same in a process of its own, which may be killed."""
        url = self.engine.url.render_as_string(hide_password=False)
        command = [sys.executable, "-c", BUILD, url, str(self.root), str(largest_file)]
        return subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)

    def files(self) -> dict[str, bytes]:
        """Without those that no web server shows."""
        found = {
            str(path.relative_to(self.root)): path
            for path in self.root.rglob("*")
            if path.is_file()
        }
        return {
            name: path.read_bytes() for name, path in found.items() if not path.name.startswith(".")
        }

    def stamps(self) -> dict[str, int]:
        return {
            str(path): path.stat().st_mtime_ns
            for path in self.root.rglob("*")
            if path.name != ".lock"
        }

    def reachable(self) -> set[str]:
        """The pages that a reader finds who begins at the home page; a link that leads nowhere is
        an error."""
        seen: set[str] = set()
        todo = {"index.html"}
        while todo:
            name = todo.pop()
            seen.add(name)
            todo |= linked_pages(name, (self.root / name).read_bytes()) - seen
        return seen


@lru_cache(maxsize=5000)
def linked_pages(name: str, content: bytes) -> frozenset[str]:
    files = (file_of(link, SITE) for link in links_of(parse_page(content), name, SITE))
    return frozenset(file for file in files if file is not None and file.endswith(".html"))
