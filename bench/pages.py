"""What the static site costs and whether it holds: built, rebuilt, checked from end to end, and
read while it changes.

    python -m bench.pages [FILE]       FILE is anything that `tidings import articles` takes;
                                        generated articles without

Times are taken in rounds, since the machine may be shared: the median, and the whole range beside
it. Then every page, link, feed and sitemap is checked, and nginx, set up as docs/pages.md says,
serves the site to processes that ask as fast as they can while it is built again and again with
articles edited, published and taken down. FULL=1 does that for a minute.
"""

from __future__ import annotations

import json
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select, update

from jobs.pages.build import Built, build_site
from tests.lab.nginx import serve_site
from tests.lab.page_readers import Answer, Journal, readers, tell
from tests.lab.servers import find_program
from tests.lab.site_checks import check_feeds, check_page, check_sitemaps, pages_of
from tidings.importing import import_articles, import_rows
from tidings.news.rendering.masthead import Masthead
from tidings.news.rendering.render import Renderer
from tidings.news.tables import article
from tidings.news.visibility import PUBLISHED, TAKEN_DOWN
from tidings.process.settings import read_settings
from tidings.store.engine import database_now, make_engine, transaction
from tidings.store.migrate import migrate

SITE = "https://news.example"
GENERATED = 1000
FIRST_BUILDS = 5
REBUILDS = 15
READERS = 4
LOAD_S = 60 if os.environ.get("FULL") else 20
OUTPUT = Path("var/bench/pages.json")
WORDS = (
    "tide harbour letter ferry morning council bridge market orchard winter signal garden "
    "archive river"
)


@dataclass
class Site:
    """A database with articles, and the folder that its site is built in."""

    engine: Engine
    root: Path
    renderer: Renderer

    def build(self) -> Built:
        return build_site(self.engine, self.root, self.renderer, now=datetime.now(UTC))

    def change(self, ids: Sequence[int], **values: Any) -> None:
        with transaction(self.engine) as conn:
            query = update(article).where(article.c.id.in_(ids))
            conn.execute(query.values(updated_at=database_now(conn), **values))

    def ids(self) -> list[int]:
        """Of all articles, oldest first."""
        with self.engine.connect() as conn:
            return list(
                conn.scalars(select(article.c.id).order_by(article.c.published_at, article.c.id))
            )


def generate(number: int) -> Iterator[dict[str, object]]:
    """Articles of a few hundred words in ten channels."""
    rng = random.Random(number)
    words = WORDS.split()
    for n in range(number):
        paragraphs = [
            " ".join(rng.choices(words, k=60)).capitalize() + "."
            for _ in range(rng.randrange(3, 15))
        ]
        title = " ".join(rng.choices(words, k=6)).capitalize()
        published = f"2026-{n % 10 + 1:02}-{n % 28 + 1:02}T{n % 24:02}:00:00Z"
        yield {
            "id": f"generated-{n}",
            "channel": f"Channel {n % 10}",
            "author": f"Author {n % 50}",
            "title": title,
            "body": "\n\n## A heading\n\n".join(paragraphs),
            "published": published,
        }


def take_times(
    rounds: int, before: Callable[[], object], build: Callable[[], Built]
) -> tuple[list[float], list[float], list[Built]]:
    """Seconds of each round by the clock and by the processor, which neighbours disturb less, and
    what it built."""
    times, processor, built = [], [], []
    for _ in range(rounds):
        before()
        started_s, processor_s = time.perf_counter(), time.process_time()
        built.append(build())
        times.append(time.perf_counter() - started_s)
        processor.append(time.process_time() - processor_s)
    return times, processor, built


def measure(site: Site) -> dict[str, float]:
    """Build from nothing, without news, and after one edit; prints a line for each."""
    ids = site.ids()
    rng = random.Random(7)

    def edit() -> None:
        site.change([rng.choice(ids)], title=f"Edited {rng.random()}")

    figures: dict[str, float] = {}
    rounds = (
        ("first_build", FIRST_BUILDS, lambda: shutil.rmtree(site.root, ignore_errors=True)),
        ("rebuild_unchanged", REBUILDS, lambda: None),
        ("rebuild_one_edit", REBUILDS, edit),
    )
    for name, number, before in rounds:
        times, processor, built = take_times(number, before, site.build)
        files = statistics.median(one.files_written for one in built)
        middle = statistics.median(times)
        busy = statistics.median(processor)
        print(
            f"{name:20}{middle:8.3f} s ({min(times):.3f} to {max(times):.3f}, {number} rounds), "
            f"{busy:.3f} s of processor, {files:,.0f} files"
        )
        figures |= {f"{name}_s": round(middle, 4), f"{name}_s_min": round(min(times), 4)}
        figures |= {f"{name}_s_max": round(max(times), 4), f"{name}_processor_s": round(busy, 4)}
        figures |= {f"{name}_files": files}
    return figures


def check(root: Path) -> dict[str, float]:
    """Look at everything, and print what is wrong."""
    pages = pages_of(root)
    with ProcessPoolExecutor() as pool:
        found = pool.map(partial(check_page, root, site=SITE), pages, chunksize=20)
        faults = [fault for page in found for fault in page]
    faults += check_feeds(root, SITE) + check_sitemaps(root, SITE)
    sizes = [
        path.stat().st_size
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    ]
    for fault in faults[:20]:
        print(f"  fault: {fault}")
    print(
        f"{len(pages):,} pages among {len(sizes):,} files of {sum(sizes):,} bytes: {len(faults)} "
        "faults"
    )
    return {"pages": len(pages), "files": len(sizes), "bytes": sum(sizes), "faults": len(faults)}


def serve(site: Site, folder: Path) -> dict[str, float]:
    """Serve and rebuild at once; every answer is judged afterwards."""
    rng = random.Random(11)
    ids = site.ids()
    volatile = rng.sample(ids[:-40], 40) + rng.sample(ids[-40:], 20)
    steady = sorted(set(ids) - set(volatile))
    journal = Journal(site.root)
    journal.build(site.build)
    builds: Counter[str] = Counter()
    every = sorted(str(path.relative_to(site.root)) for path in site.root.rglob("[!.]*.*"))
    # What changes most is asked for most: lists and feeds, and the articles that come and go.
    paths = every + 10 * [path for path in every if not path.startswith("articles/")]
    paths += 10 * [f"articles/{id_}.html" for id_ in volatile]
    with serve_site(site.root, folder) as url, readers(url, paths, READERS) as found:
        started_s = time.monotonic()
        while time.monotonic() - started_s < LOAD_S:
            site.change(rng.sample(steady, 10), title=f"Edited {rng.random()}")
            site.change(rng.sample(volatile, 10), status=PUBLISHED)
            site.change(rng.sample(volatile, 5), status=TAKEN_DOWN)
            built: Built = journal.build(site.build)
            builds.update(builds=1, written=built.files_written, deleted=built.files_deleted)
    return report(found.answers, tell(journal, found.answers), builds, time.monotonic() - started_s)


def report(
    answers: Sequence[Answer], verdicts: Counter[str], builds: Counter[str], took_s: float
) -> dict[str, float]:
    """Print what the readers met."""
    gone = sum(answer.digest is None and not answer.trouble for answer in answers)
    times = sorted(answer.answered_s - answer.asked_s for answer in answers)
    print(
        f"{len(answers):,} requests in {took_s:.0f} s during {builds['builds']} builds "
        f"({builds['written']:,} files "
        f"written, {builds['deleted']:,} deleted): {verdicts.total()} failures; {gone:,} times "
        "404 for what was taken "
        f"down; p50 {times[len(times) // 2] * 1000:.2f} ms, p99 "
        f"{times[len(times) * 99 // 100] * 1000:.2f} ms"
    )
    for verdict, number in verdicts.most_common():
        print(f"  {number} times: {verdict}")
    return {
        "load_requests": len(answers),
        "load_failures": verdicts.total(),
        "load_404_taken_down": gone,
        "load_builds": builds["builds"],
        "load_files_written": builds["written"],
        "load_files_deleted": builds["deleted"],
        "load_s": round(took_s, 1),
    }


def about(articles: int) -> dict[str, object]:
    printed = subprocess.run(
        [find_program("nginx"), "-v"], capture_output=True, text=True, check=True
    ).stderr
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "nginx": "".join(re.findall(r"nginx/(\S+)", printed)),
        "articles": articles,
        "load_average": round(os.getloadavg()[2], 1),
    }


def main() -> int:
    """Import, measure, check, serve; the exit code is 1 if there is any fault or failure."""
    with tempfile.TemporaryDirectory(prefix="tidings-") as name:
        folder = Path(name)
        engine = make_engine(read_settings(None, database_url=f"sqlite:///{folder}/db").database)
        migrate(engine)
        if len(sys.argv) > 1:
            counts = import_articles(
                sys.argv[1], engine, folder=folder / "import", channel="general"
            ).counts
        else:
            counts = import_rows(generate(GENERATED), engine).counts
        print(counts)
        site = Site(engine, folder / "site", Renderer(Masthead(SITE)))
        figures: dict[str, float] = {
            "articles": counts.created,
            **measure(site),
            **check(site.root),
        }
        figures |= serve(site, folder)
        figures["faults_after_load"] = check(site.root)["faults"]
        engine.dispose()
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps({**figures, "_about": about(counts.created)}, indent=2) + "\n")
    print(f"written to {OUTPUT}")
    return 1 if figures["faults"] or figures["faults_after_load"] or figures["load_failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
