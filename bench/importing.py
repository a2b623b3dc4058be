"""What an import costs in time and memory, now and before articles belonged to their sources; and
how long the static site still shows what was taken down.

    python -m bench.importing [REVISION]     REVISION is what this tree is compared with

Both versions are whole checkouts that run the same command by the same interpreter, in turns, each
with an empty database of its own. The ratio is of processor time, which other work on the machine
disturbs less than the clock. Rejected: the functions beneath the command, which the two versions do
not share. FULL=1 takes three pairs of each instead of one.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from bench.pages import WORDS
from tests.lab.servers import find_program, start_redis, wait_until
from tests.lab.sites import TIDINGS, Site, start_site
from tidings.process.errors import PREFIX

ROOT = Path(__file__).parent.parent
# The last change before articles had sources.
BEFORE = "328780e"
ROWS = int(os.environ.get("ROWS", "100_000"))
PAIRS = 3 if os.environ.get("FULL") else 1
TAKEN_DOWN = 5
IMPORT_TIMEOUT_S = 3600
SITE_TIMEOUT_S = 180
OUTPUT = Path("var/bench/import.json")
COMMAND = "from tidings.commands.main import main; main(prog_name='tidings')"
NEWEST = datetime(2026, 1, 1, tzinfo=UTC)


class Article(NamedTuple):
    """What every format says of one article."""

    number: int
    title: str
    paragraphs: list[str]

    @property
    def published(self) -> datetime:
        return NEWEST - timedelta(seconds=self.number)


class Cost(NamedTuple):
    """What one import took."""

    wall_s: float
    processor_s: float
    rss_mib: float


class Import(NamedTuple):
    """A checkout, and the file that it reads."""

    tree: Path
    file: Path


def generate() -> Iterator[Article]:
    """Articles of five paragraphs, about 1,500 characters each."""
    rng = random.Random(1)
    words = WORDS.split()
    for number in range(ROWS):
        paragraphs = [
            " ".join(rng.choices(words, k=rng.randrange(30, 60))).capitalize() + "."
            for _ in range(5)
        ]
        yield Article(number, " ".join(rng.choices(words, k=6)).capitalize(), paragraphs)


def write_jsonl(path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for article in generate():
            row = {
                "id": f"generated-{article.number}",
                "channel": f"Channel {article.number % 10}",
                "author": f"Author {article.number % 50}",
                "title": article.title,
                "body": "\n\n".join(article.paragraphs),
                "published": article.published.isoformat(),
            }
            file.write(json.dumps(row) + "\n")


def write_feed(path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0"?><rss version="2.0"><channel><title>Channel</title>\n')
        file.write("<link>https://feed.example/</link>\n")
        for article in generate():
            body = "".join(f"<p>{paragraph}</p>" for paragraph in article.paragraphs)
            file.write(
                f"<item><guid isPermaLink='false'>generated-{article.number}</guid>"
                f"<title>{article.title}</title><author>Author {article.number % 50}</author>"
                f"<link>https://feed.example/{article.number}</link>"
                f"<pubDate>{format_datetime(article.published)}</pubDate>"
                f"<description>{escape(body)}</description></item>\n"
            )
        file.write("</channel></rss>\n")


WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "jsonl": ("articles.jsonl", write_jsonl),
    "feed": ("articles.rss", write_feed),
}


@contextmanager
def checkout(revision: str, folder: Path) -> Iterator[Path]:
    """This project as it was at that revision, for as long as it is needed.

    Raises:
        subprocess.CalledProcessError: git does not know it, as in a clone without its history.
    """
    git = [find_program("git"), "-C", str(ROOT)]
    tree = folder / "before"
    subprocess.run([*git, "worktree", "add", "--quiet", "--detach", tree, revision], check=True)
    try:
        yield tree
    finally:
        subprocess.run([*git, "worktree", "remove", "--force", tree], check=True)


def run_import(one: Import, redis_url: str) -> Cost:
    """`tidings migrate` and `tidings import articles FILE` of a checkout; the second is measured.

    Raises:
        RuntimeError: it failed; with what it printed.
    """
    with tempfile.TemporaryDirectory(prefix="tidings-") as name:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(PREFIX)},
            f"{PREFIX}VAR_DIR": name,
            f"{PREFIX}DATABASE_URL": f"sqlite:///{name}/tidings.db",
            f"{PREFIX}REDIS_URL": redis_url,
            # Before what the environment of this interpreter has installed of us.
            "PYTHONPATH": f"{one.tree}:{one.tree / 'gen-py'}",
        }
        started = [sys.executable, "-c", COMMAND]
        subprocess.run([*started, "migrate"], cwd=name, env=environment, check=True)
        output = Path(name) / "output"
        begun_s = time.perf_counter()
        with output.open("wb") as file:
            process = subprocess.Popen(
                [*started, "import", "articles", str(one.file)],
                cwd=name,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
            # Rather than `wait`, since this tells what the process used.
            _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begun_s
        process.returncode = os.waitstatus_to_exitcode(status)
        said = output.read_text(errors="replace")
        if process.returncode or f"{ROWS} new" not in said.replace(",", ""):
            raise RuntimeError(f"exit code {process.returncode}: {said[-2000:]}")
        return Cost(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def measure(kind: str, trees: dict[str, Path], folder: Path, redis_url: str) -> dict[str, float]:
    """Pairs of imports of one format; prints a line for each import."""
    name, write = WRITERS[kind]
    write(folder / name)
    costs: dict[str, list[Cost]] = {version: [] for version in trees}
    for pair in range(PAIRS):
        # What comes second finds the file in the page cache: each version does, in its turn.
        for version in sorted(trees, reverse=bool(pair % 2)):
            cost = run_import(Import(trees[version], folder / name), redis_url)
            costs[version].append(cost)
            print(
                f"{kind:6} {version:7} {ROWS / cost.wall_s:8,.0f} rows/s, "
                f"{cost.processor_s:7.1f} s of processor, {cost.rss_mib:6.0f} MiB",
                flush=True,
            )
    (folder / name).unlink()
    ratios = [
        then.processor_s / now.processor_s
        for then, now in zip(costs["before"], costs["now"], strict=True)
    ]
    figures = {
        f"rows_per_s_{kind}": statistics.median(ROWS / cost.wall_s for cost in costs["now"]),
        f"rows_per_s_{kind}_before": statistics.median(
            ROWS / cost.wall_s for cost in costs["before"]
        ),
        f"ratio_before_{kind}": statistics.median(ratios),
        f"rss_mib_100k_{kind}": max(cost.rss_mib for cost in costs["now"]),
        f"rss_mib_100k_{kind}_before": max(cost.rss_mib for cost in costs["before"]),
    }
    return {name: round(value, 3) for name, value in figures.items()}


def measure_take_down(folder: Path, redis_url: str) -> dict[str, float]:
    """From the moment at which `tidings articles take-down` is typed until the article's page is no
    file of the static site any more."""
    folder.mkdir()
    with start_site(folder, redis_url=redis_url) as site:
        site.wait_until_ready()
        pages = site.settings.site.var_dir / "site" / "articles"
        wait_until(
            lambda: len(list(pages.glob("*.html"))) > TAKEN_DOWN,
            SITE_TIMEOUT_S,
            "a static site",
        )
        seconds = [take_down(page, site) for page in sorted(pages.glob("*.html"))[:TAKEN_DOWN]]
        site.stop()
    return {
        "takedown_static_s": round(statistics.median(seconds), 2),
        "takedown_static_s_max": round(max(seconds), 2),
    }


def take_down(page: Path, site: Site) -> float:
    """Seconds until that file is gone."""
    begun_s = time.perf_counter()
    subprocess.run(
        [TIDINGS, "articles", "take-down", page.stem],
        env=dict(site.environment),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    wait_until(lambda: not page.exists(), SITE_TIMEOUT_S, f"{page} to go")
    took_s = time.perf_counter() - begun_s
    print(f"taken down: {took_s:.2f} s until its page is gone", flush=True)
    return took_s


def main() -> int:
    """Measure all, print, and write the figures."""
    revision = sys.argv[1] if len(sys.argv) > 1 else BEFORE
    figures: dict[str, float] = {"rows": ROWS, "pairs": PAIRS}
    with (
        tempfile.TemporaryDirectory(prefix="tidings-") as name,
        start_redis() as redis,
        checkout(revision, Path(name)) as before,
    ):
        folder = Path(name)
        for kind in WRITERS:
            figures |= measure(kind, {"before": before, "now": ROOT}, folder, redis.url)
        figures |= measure_take_down(folder / "site", redis.url)
    figures["rss_mib_100k"] = max(figures[f"rss_mib_100k_{kind}"] for kind in WRITERS)
    figures["ratio_before"] = min(figures[f"ratio_before_{kind}"] for kind in WRITERS)
    about = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "before": revision,
        "load_average": round(os.getloadavg()[2], 1),
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps({**figures, "_about": about}, indent=2) + "\n")
    print(f"written to {OUTPUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
