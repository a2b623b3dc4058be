"""Two hundred clients ask for one reader at once, of two recommenders whose clocks are apart.

What the contract promises holds between processes too: no two fresh batches overlap, each is in the
history once, and the other readers are served meanwhile.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path

import pytest

from tests.lab.moved_clock import moved_clock
from tests.lab.servers import free_port, spawn, wait_until
from tests.lab.sites import PATIENT, TIDINGS, Site, start_site
from tidings.client import Feed, TidingsClient, TidingsError
from tidings.process.asking import answers_ready
from tidings.process.deadline import DeadlineExceededError

pytestmark = pytest.mark.long

ARTICLES = 2_000
READER, OTHERS = 7, range(100, 110)
CLIENTS, BATCHES, PER_BATCH = 200, 2, 4
APART_S = 90.0
REFUSED = "too many requests for this reader at once"


@contextmanager
def second_recommender(site: Site, folder: Path) -> Iterator[str]:
    """A recommender of the same site whose clock is ahead; its endpoint."""
    bind, metrics = (f"127.0.0.1:{free_port()}" for _ in range(2))
    command = ["env", *moved_clock(folder, APART_S), sys.executable, "-m", "services.recommender"]
    environment = {
        **site.environment,
        "TIDINGS_RECOMMENDER_BIND": bind,
        "TIDINGS_RECOMMENDER_METRICS_BIND": metrics,
        "TIDINGS_REDIS_URL": str(site.settings.redis.url),
    }
    with (folder / "second.log").open("wb") as log:
        process = spawn(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        wait_until(partial(answers_ready, metrics), 60, "the second recommender")
        yield bind
    finally:
        process.kill()
        process.wait()


def import_articles(site: Site, folder: Path) -> None:
    rows = [
        json.dumps({"id": f"a{n}", "title": f"Article {n}", "body": "Text.", "channel": "News"})
        for n in range(ARTICLES)
    ]
    subprocess.run(
        [TIDINGS, "import", "articles", "-"],
        input="\n".join(rows).encode(), env=site.environment, cwd=folder, check=True,
        capture_output=True, timeout=120,
    )  # fmt: skip


def ask_until_served(
    client: TidingsClient, reader_id: int, unsure: list[Exception] | None = None
) -> Feed:
    """A fresh batch; a refusal that may be tried again is.

    Args:
        unsure: takes in how calls failed of which it is not known whether a batch was recorded.
    """
    lost = [] if unsure is None else unsure
    while True:
        try:
            return client.feed(reader_id, article_num=PER_BATCH)
        except DeadlineExceededError as ex:
            lost.append(ex)
        except TidingsError as ex:
            if not ex.retryable:
                raise
            if REFUSED not in str(ex):
                lost.append(ex)
            time.sleep(0.05)


def test_no_batch_overlaps_and_the_history_is_whole(tmp_path: Path) -> None:
    """Each article comes once, whichever process answered, and the others wait for no one."""
    with start_site(
        tmp_path,
        "--no-demo",
        seen_articles=ARTICLES,
        history_batches=2 * CLIENTS * BATCHES,
        **PATIENT,
    ) as site:
        site.wait_until_ready()
        import_articles(site, tmp_path)
        with second_recommender(site, tmp_path) as second:
            endpoints = [*site.settings.recommender.endpoints, second]
            wait_until(lambda: len(feed_of(site)) == PER_BATCH, 30, "the articles in a feed")
            batches: list[Feed] = []
            errors: list[Exception] = []
            unsure: list[Exception] = []

            def visit(number: int, reader_id: int, visits: int) -> None:
                endpoint = endpoints[number % len(endpoints)]
                try:
                    with TidingsClient(endpoint, timeout_ms=60_000) as client:
                        for _ in range(visits):
                            mine = unsure if reader_id == READER else None
                            feed = ask_until_served(client, reader_id, mine)
                            if reader_id == READER:
                                batches.append(feed)
                except Exception as ex:  # noqa: BLE001 - shown by the assertion below
                    errors.append(ex)

            threads = [
                threading.Thread(target=visit, args=(number, READER, BATCHES))
                for number in range(CLIENTS)
            ] + [
                threading.Thread(target=visit, args=(number, other, 10))
                for number, other in enumerate(OTHERS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(300)

            with TidingsClient(endpoints[0], timeout_ms=60_000) as client:
                last = ask_until_served(client, READER, unsure)
                pages = list(client.history(READER, before_ms=last.before_ms))

    assert not errors
    shown = [tuple(article.article_id for article in feed.articles) for feed in batches]
    assert [len(ids) for ids in shown] == [PER_BATCH] * (CLIENTS * BATCHES)
    ids = [*chain.from_iterable(shown)]
    assert len(ids) == len({*ids})
    recorded = [tuple(article.article_id for article in page.articles) for page in pages]
    ids = [*chain.from_iterable(recorded)]
    assert len(ids) == len({*ids})
    assert {*shown} <= {*recorded}
    # An answer that a pause of the whole machine has cost may have been recorded before.
    assert len(recorded) - len(shown) <= len(unsure)


def feed_of(site: Site) -> list[int]:
    feed = site.reader().get(f"/articles?article_num={PER_BATCH}").json
    return [card["article_id"] for card in feed["results"]]
