"""What a reader of a whole site gets: pages forward and back, without a hole when the recommender
dies."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import ColumnElement, Table, select

from tests.lab.examples import make_example
from tests.lab.servers import find_program
from tests.lab.sites import TIDINGS, Answer, Reader, Site
from tidings.reading.tables import behaviour, exposure
from tidings.store.engine import make_engine

StartSite = Callable[..., AbstractContextManager[Site]]
EXAMPLES = Path(__file__).parent.parent.parent / "examples"
EVERY_S = 0.05
PATIENCE_S = 120


def ids(answer: Answer) -> list[int]:
    assert answer.status == 200, answer.body
    return [card["article_id"] for card in answer.json["results"]]


def page_forward(reader: Reader, channel_id: int, article_num: int) -> list[Answer]:
    """Fresh pages until one brings nothing new."""
    shown: set[int] = set()
    pages: list[Answer] = []
    while True:
        page = reader.get(f"/articles?channel_id={channel_id}&article_num={article_num}")
        if shown >= set(ids(page)):
            return pages
        pages.append(page)
        shown |= set(ids(page))


def page_back(reader: Reader, channel_id: int, time_stamp: int) -> list[list[int]]:
    """The recorded pages from `time_stamp` to the first, the newest first."""
    pages = []
    while time_stamp:
        page = reader.get(f"/articles?channel_id={channel_id}&time_stamp={time_stamp}")
        assert page.json["exposure"] == ""
        pages.append(ids(page))
        time_stamp = page.json["pre_timestamp"]
    return pages


def test_a_reader_exhausts_a_channel_and_walks_back_to_the_start(
    new_site: StartSite, tmp_path: Path
) -> None:
    """Imported articles come once each going forward, and every page again, in its order, going
    back."""
    source = tmp_path / "imported.jsonl"
    source.write_text(
        "".join(
            json.dumps(
                {
                    "id": f"a{number}",
                    "title": f"Article {number}",
                    "body": "Text.",
                    "channel": "harbour",
                }
            )
            + "\n"
            for number in range(237)
        )
    )
    with new_site("--no-demo") as site:
        site.wait_until_ready()
        imported = subprocess.run(
            [TIDINGS, "import", "articles", source],
            env=site.environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert imported.returncode == 0, imported.stderr
        reader = site.reader()
        channel_id = wait_for_articles(site, 237)

        forward = page_forward(reader, channel_id, 10)
        once_more = reader.get(f"/articles?channel_id={channel_id}")
        back = page_back(reader, channel_id, once_more.json["pre_timestamp"])

    shown = [ids(page) for page in forward]
    each = list(chain.from_iterable(shown))
    # The last page is filled up with what was shown the longest ago.
    assert len(each) == 240
    assert len({*each[:237]}) == len({*each}) == 237
    # The two pages that brought nothing new are history as well.
    assert back[-len(shown) :] == shown[::-1]


def wait_for_articles(site: Site, number: int) -> int:
    """The id of the only channel, once the recommender has seen all its articles."""
    give_up_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_at:
        channel_ids = [
            channel["channel_id"] for channel in site.reader().get("/channels").json["results"]
        ]
        # Each look is by a reader of its own, who has not seen anything yet.
        looker = site.reader()
        found = {
            article_id
            for _ in range(3)
            for article_id in ids(
                looker.get(f"/articles?channel_id={channel_ids[-1]}&article_num=100")
            )
        }
        if channel_ids[-1] and len(found) == number:
            return int(channel_ids[-1])
    raise AssertionError(f"the recommender has not seen {number} articles")


def test_reports_are_in_the_database_within_moments(site: Site, visitor: Reader) -> None:
    """From the page to SQL: a row of `exposure` holds its ten articles, and one of `behaviour` a
    click."""
    feed = visitor.get("/articles?channel_id=0").json
    click = feed["results"][3]["track"]["click"]
    answer = visitor.send(
        "POST", "/behaviors", {"events": [{"track": feed["exposure"]}, {"track": click}]}
    )
    again = visitor.send("POST", "/behaviors", {"events": [{"track": click}]})

    assert (answer.status, again.status) == (202, 202)
    engine = make_engine(site.settings.database)
    acts: list[Any] = []
    batches: list[Any] = []
    give_up_at = time.monotonic() + PATIENCE_S
    while not (acts and batches) and time.monotonic() < give_up_at:
        with engine.connect() as conn:
            acts = list(conn.execute(select(behaviour).where(is_of(behaviour, visitor))))
            batches = list(conn.execute(select(exposure).where(is_of(exposure, visitor))))
        time.sleep(0.1)
    engine.dispose()

    assert [(act.action, act.article_id) for act in acts] == [
        ("click", feed["results"][3]["article_id"])
    ]
    (batch,) = batches
    assert array("q", batch.article_ids).tolist() == [
        card["article_id"] for card in feed["results"]
    ]


def is_of(table: Table, reader: Reader) -> ColumnElement[bool]:
    """The condition for a row of this reader's."""
    return table.c.reader_id == reader.reader_id


@contextmanager
def asking(reader: Reader, answers: list[tuple[float, Answer]]) -> Iterator[None]:
    """A client that asks twenty times a second until the block ends."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(EVERY_S):
            answers.append((time.monotonic(), reader.get("/articles?channel_id=0&article_num=3")))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(120)


def wait_for_step(
    answers: list[tuple[float, Answer]], since: float, step: str, *, gone: bool = False
) -> None:
    """Until an answer of after `since` was served from `step`, or with `gone` from another one."""
    give_up_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_at:
        for at, answer in list(answers):
            if at > since and (answer.json["served_from"] == step) != gone:
                return
        time.sleep(0.05)
    raise AssertionError(
        f"never {'left' if gone else 'served from'} {step}: {answers[-1][1].body[-200:]!r}"
    )


def test_a_killed_recommender_costs_no_reader_an_error(new_site: StartSite) -> None:
    """Under a steady load, kill -9: plainer pages meanwhile, and personal ones again once it is
    back by itself."""
    answers: list[tuple[float, Answer]] = []
    with new_site() as site:
        site.wait_until_ready()
        with asking(site.reader(), answers):
            wait_for_step(answers, 0, "personal")
            killed_at = time.monotonic()
            site.find("services.recommender").kill()
            wait_for_step(answers, killed_at, "personal", gone=True)
            fell_at = time.monotonic()
            wait_for_step(answers, fell_at, "personal")

    assert {answer.status for _, answer in answers} == {200}
    assert all(len(answer.json["results"]) == 3 for _, answer in answers)
    assert {answer.json["served_from"] for _, answer in answers} > {"personal"}


def test_a_frozen_recommender_costs_no_reader_an_error(new_site: StartSite) -> None:
    """SIGSTOP: its door accepts and no answer comes, which is worse than a closed one."""
    answers: list[tuple[float, Answer]] = []
    with new_site(gateway_recommend_ms=2000) as site:
        site.wait_until_ready()
        with asking(site.reader(), answers):
            wait_for_step(answers, 0, "personal")
            frozen_at = time.monotonic()
            process: psutil.Process = site.find("services.recommender")
            for each in (process, *process.children()):
                each.send_signal(signal.SIGSTOP)
            wait_for_step(answers, frozen_at, "personal", gone=True)
            for each in (process, *process.children()):
                each.send_signal(signal.SIGCONT)
            wait_for_step(answers, time.monotonic(), "personal")

    assert {answer.status for _, answer in answers} == {200}


def test_a_node_client_gets_the_feed_that_the_gateway_shows(site: Site, visitor: Reader) -> None:
    """The same reader over HTTP and over Thrift from another language: one history, in one
    order."""
    through_gateway = ids(visitor.get("/articles?channel_id=0&article_num=10"))
    user_id = visitor.reader_id
    make_example("node").check_returncode()
    host, port = site.settings.recommender.bind.split(":")
    client = subprocess.run(
        [find_program("node"), EXAMPLES / "node" / "client.js", host, port, str(user_id), "0"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )

    oldest = [line for line in client.stdout.splitlines() if line.startswith("history")][-1]
    assert [int(word) for word in oldest.split()[2:]] == through_gateway
